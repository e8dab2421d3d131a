"""Evidence of an NVIDIA GPU in confidential mode, through NVIDIA's management library.

One quoter for each GPU. The GPU signs a 32-byte nonce, which is derived from the 64 bytes the
processor signs (`device_nonce`), so that one challenge covers all. That this GPU is the one the
attested processor computes with rests on the measured code which asked it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import ModuleType
from typing import Any

from privity.attest.quoters.endorsements import certificates_of
from privity.errors import MalformedError, MissingDependency, PeerError
from privity.identity.multibase import encode_base64url
from privity.statement import device_nonce

__all__ = ["NvidiaQuoter", "gpus", "load_library"]

_MAX_GPUS = 16


class NvidiaQuoter:
    """Makes ``nvidia`` evidence with one GPU. This runs in the enclave.

    Args:
        library: ``pynvml``, initialised, as `load_library` returns it.
        index: which GPU.

    Raises:
        PeerError: the library refused.
    """

    kind = "nvidia"
    # The evidence carries the GPU's chain; NVIDIA's root is all a verifier needs besides.
    endorsements: tuple[dict[str, Any], ...] = ()

    def __init__(self, library: ModuleType | Any, index: int = 0) -> None:
        self._library = library
        self._device = _call(library, library.nvmlDeviceGetHandleByIndex, index)
        self.index = index

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence whose nonce is `device_nonce` of these 64 bytes.

        Raises:
            PeerError: the GPU or its driver refused, or answered outside the protocol.
        """
        nonce = device_nonce(report_data)
        library = self._library
        report = _call(
            library, library.nvmlDeviceGetConfComputeGpuAttestationReport, self._device, nonce
        )
        chain = _call(library, library.nvmlDeviceGetConfComputeGpuCertificate, self._device)
        pem = _cut(chain.attestationCertChain, chain.attestationCertChainSize)
        try:
            certificates = certificates_of(pem.rstrip(b"\0"))
        except MalformedError as error:
            raise PeerError(f"the GPU's certificate chain is {error.message}") from None
        signed = _cut(report.attestationReport, report.attestationReportSize)
        return {
            "certificates": [encode_base64url(one) for one in certificates],
            "kind": "nvidia",
            "report": encode_base64url(signed),
        }


def load_library() -> Any:
    """Return ``pynvml``, initialised.

    Raises:
        MissingDependency: it is not installed, or finds no driver.
    """
    try:
        import pynvml
    except ImportError:
        raise MissingDependency(
            "nvidia-ml-py is not installed", hint="pip install 'privity[nvidia]'"
        ) from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        raise MissingDependency(
            "no NVIDIA driver here", hint="needs NVIDIA's driver, in the guest that has the GPU"
        ) from None
    return pynvml


def gpus(library: Any) -> int:
    """Return how many GPUs can be asked for evidence.

    Raises:
        MissingDependency: none is in confidential mode, or they are open to debugging tools.
        PeerError: the library refused.
    """
    try:
        state = library.nvmlSystemGetConfComputeState()
    except library.NVMLError:
        state = None
    if state is None or not state.ccFeature:
        raise MissingDependency(
            "the GPUs here are not in confidential mode",
            hint="the host switches it on, per GPU, before the guest starts (Hopper and newer)",
        )
    if state.devToolsMode:
        raise MissingDependency(
            "the GPUs here are in confidential mode with developer tools, which is not private",
            hint="the host switches the mode to on, not devtools",
        )
    count = int(_call(library, library.nvmlDeviceGetCount))
    if not 0 < count <= _MAX_GPUS:
        raise MissingDependency(f"{count} GPUs here; privity asks 1 to {_MAX_GPUS}")
    return count


def _call(library: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except library.NVMLError as error:
        raise PeerError(f"NVIDIA's library refused: {str(error)[:80]}") from None


def _cut(buffer: Any, size: int) -> bytes:
    whole = bytes(buffer)
    if not 0 < size <= len(whole):
        raise PeerError("NVIDIA's library answered with an impossible length")
    return whole[:size]

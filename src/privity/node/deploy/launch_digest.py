"""The launch digest of an SEV-SNP guest, computed offline by ``sev-snp-measure`` (Apache-2.0)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from privity.errors import InputError, MissingDependency
from privity.node.deploy.request import Boot

__all__ = ["Measure", "snp_launch_digest"]

Measure = Callable[[Boot, int], str]

_GUEST_FEATURES = 0x1


def snp_launch_digest(boot: Boot, cpus: int) -> str:
    """Return the digest of firmware, kernel, initrd, command line and processors, in hex.

    Raises:
        MissingDependency: ``sev-snp-measure`` is not installed.
        InputError: a file is missing or is not what it should be.
    """
    if boot.firmware is None or boot.kernel is None or boot.initrd is None:
        raise InputError("the launch digest needs the firmware, the kernel and the initrd")
    guest, vcpu_types, mode = _library()
    if boot.cpu not in vcpu_types.CPU_SIGS:
        raise InputError(
            f"{boot.cpu!r} is not a CPU model with a known signature",
            hint=f"one of {', '.join(vcpu_types.CPU_SIGS)}",
        )
    try:
        digest: bytes = guest.calc_launch_digest(
            mode,
            cpus,
            vcpu_types.CPU_SIGS[boot.cpu],
            str(boot.firmware),
            str(boot.kernel),
            str(boot.initrd),
            boot.append,
            _GUEST_FEATURES,
        )
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, RuntimeError, LookupError, ArithmeticError, AssertionError, struct.error):
        # That library asserts on its input, so its own words would say little.
        raise InputError(
            f"sev-snp-measure finds no launch digest of {boot.firmware}",
            hint="the firmware must be an OVMF built for SEV-SNP",
        ) from None
    return digest.hex()


def _library() -> tuple[Any, Any, Any]:
    try:
        from sevsnpmeasure import guest, vcpu_types
        from sevsnpmeasure.sev_mode import SevMode
    except ImportError:
        raise MissingDependency(
            "sev-snp-measure is not installed, so the launch digest was not computed",
            hint="pip install sev-snp-measure",
        ) from None
    return guest, vcpu_types, SevMode.SEV_SNP

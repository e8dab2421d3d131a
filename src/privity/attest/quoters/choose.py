"""Which evidence this machine can give, and which of it the enclave publishes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from privity.attest.evidence import Quoter
from privity.attest.quoters import dstack, nitro, nvidia, tsm
from privity.attest.quoters.endorsements import read_certificates, read_collateral
from privity.errors import InputError, MissingDependency, PrivityError

__all__ = ["ATTESTERS", "Attester", "AttesterSettings", "available", "choose_quoters"]

logger = logging.getLogger("privity.attest")

ATTESTERS = ("dstack", "nitro", "tsm", "nvidia", "dev")
"""What an operator may name, and the order in which processors' attesters are tried."""

_DEV = "dev"


@dataclass(frozen=True)
class AttesterSettings:
    """Where to look, and what to send along.

    Attributes:
        tsm: the kernel's folder of reports.
        dstack: the guest agent's socket; None looks in its usual places.
        nsm: the Nitro security module's device.
        collateral: a file of Intel's collateral, for TDX.
        pccs: a service to fetch that from once, at start; None fetches nothing.
        certificates: files of AMD's certificates, for SNP where the host gives none.
        nvml: loads NVIDIA's library; a parameter for tests.
    """

    tsm: Path = tsm.TSM_REPORTS
    dstack: Path | None = None
    nsm: Path = nitro.NSM
    collateral: Path | None = None
    pccs: str | None = None
    certificates: tuple[Path, ...] = ()
    nvml: Callable[[], Any] = field(default=nvidia.load_library, repr=False)

    def __post_init__(self) -> None:
        if self.pccs is not None and not self.pccs.startswith("https://"):
            raise InputError("a collateral service is given as an https URL")

    def intel(self) -> dict[str, Any]:
        """Return what TDX quoters are given; raises `InputError`."""
        collateral = None if self.collateral is None else read_collateral(self.collateral)
        return {"collateral": collateral, "pccs": self.pccs}


@dataclass(frozen=True)
class Attester:
    """One way to evidence, as found on this machine.

    Attributes:
        name: one of `ATTESTERS`.
        kind: the kind of evidence it makes.
        how: the interface it uses.
        ready: whether it can be asked now.
        detail: what was found or what is missing.
        hint: what to do about it; empty where it is ready.
    """

    name: str
    kind: str
    how: str
    ready: bool
    detail: str
    hint: str = ""


def available(settings: AttesterSettings | None = None) -> list[Attester]:
    """Return every attester, ready or not, without asking any for a quote.

    `privity doctor` shows this. ``dev`` is always there, and proves nothing about hardware.
    """
    settings = settings or AttesterSettings()
    return [
        _look("dstack", "tdx", "dstack's guest agent", partial(_dstack, settings)),
        _look("nitro", "nitro", "AWS' Nitro security module", partial(_nitro, settings)),
        _look("tsm", "tdx or snp", "Linux' configfs-tsm", partial(_tsm, settings)),
        _look("nvidia", "nvidia", "NVIDIA's management library", partial(_nvidia, settings)),
        Attester(_DEV, _DEV, "a key of this process", True, "plain software: no host is kept out"),
    ]


def choose_quoters(
    settings: AttesterSettings | None = None,
    names: Sequence[str] = (),
    *,
    dev: Callable[[], Quoter] | None = None,
) -> tuple[Quoter, ...]:
    """Return the quoters an enclave publishes evidence with. This is run by the enclave.

    Args:
        settings: where to look.
        names: the attesters to use, of `ATTESTERS`; each must work. Empty chooses: the first of
            dstack, nitro and tsm that is ready, with every GPU; else ``dev``, with a warning.
        dev: makes the ``dev`` quoter; None refuses to go without hardware.

    Raises:
        InputError: an unknown name, one twice, or ``dev`` beside others.
        MissingDependency: a named attester is not there; or nothing is, and ``dev`` is None.
        PeerError: the platform refused.

    Guarantees:
        A named attester is never replaced by ``dev``
        (tests/adversary/test_quoters.py::test_named_hardware_that_is_absent_never_becomes_dev).
    """
    settings = settings or AttesterSettings()
    if names:
        return _named(settings, names, dev)
    found = {one.name: one for one in available(settings)}
    processor = next((name for name in ("dstack", "nitro", "tsm") if found[name].ready), None)
    if processor is not None:
        chosen = [processor, "nvidia"] if found["nvidia"].ready else [processor]
        return tuple(quoter for name in chosen for quoter in _make(settings, name))
    if found["nvidia"].ready:
        # A GPU alone says nothing of the code that asked it.
        logger.warning("GPU evidence is left out: no attester of the processor is ready")
    if dev is None:
        raise MissingDependency(
            "this machine has no attester that is ready",
            hint="`privity doctor --only attesters` says what each one misses",
        )
    logger.warning("no hardware attester is ready: evidence is of kind dev, which proves nothing")
    return (dev(),)


def _named(
    settings: AttesterSettings, names: Sequence[str], dev: Callable[[], Quoter] | None
) -> tuple[Quoter, ...]:
    for name in names:
        if name not in ATTESTERS:
            raise InputError(f"{name!r} is no attester", hint=f"one of {', '.join(ATTESTERS)}")
    if len(set(names)) != len(names):
        raise InputError("an attester is named twice")
    if _DEV in names:
        if len(names) > 1:
            raise InputError(
                "dev evidence beside hardware would make the whole dev",
                hint="name dev alone, or leave it out",
            )
        if dev is None:
            raise InputError(
                "dev evidence was not allowed here",
                hint=f"name one of {', '.join(name for name in ATTESTERS if name != _DEV)}",
            )
        logger.warning("evidence of kind dev was asked for: it proves nothing about hardware")
        return (dev(),)
    return tuple(quoter for name in names for quoter in _make(settings, name))


def _make(settings: AttesterSettings, name: str) -> Iterator[Quoter]:
    if name == "dstack":
        yield dstack.DstackQuoter(dstack.connect(settings.dstack), **settings.intel())
    elif name == "nitro":
        yield nitro.NitroQuoter(nitro.device(settings.nsm))
    elif name == "tsm":
        certificates = read_certificates(settings.certificates)
        yield tsm.TsmQuoter(settings.tsm, certificates=certificates, **settings.intel())
    else:
        library = settings.nvml()
        for index in range(nvidia.gpus(library)):
            yield nvidia.NvidiaQuoter(library, index)


def _look(name: str, kind: str, how: str, find: Callable[[], tuple[str, str]]) -> Attester:
    try:
        kind, detail = find()
    except PrivityError as error:
        return Attester(name, kind, how, False, error.message, error.hint)
    return Attester(name, kind, how, True, detail)


def _dstack(settings: AttesterSettings) -> tuple[str, str]:
    dstack.connect(settings.dstack)
    return "tdx", "the agent's socket is here"


def _nitro(settings: AttesterSettings) -> tuple[str, str]:
    nitro.device(settings.nsm)
    return "nitro", f"{settings.nsm} can be opened"


def _tsm(settings: AttesterSettings) -> tuple[str, str]:
    kind = tsm.tsm_kind(settings.tsm)
    missing = kind == "tdx" and settings.collateral is None and settings.pccs is None
    detail = f"this guest's kernel makes {kind} reports"
    return kind, detail + ("; no collateral is given to send along" if missing else "")


def _nvidia(settings: AttesterSettings) -> tuple[str, str]:
    count = nvidia.gpus(settings.nvml())
    return "nvidia", f"{count} GPU{'s' * (count > 1)} in confidential mode"

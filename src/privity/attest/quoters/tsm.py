"""Quotes of Intel TDX and AMD SEV-SNP through Linux' ``configfs-tsm`` (6.7 and newer).

A report is a folder: making it asks nothing yet, writing ``inblob`` sets the 64 bytes, reading
``outblob`` makes the hardware sign them. Source: Linux, Documentation/ABI/testing, the file
configfs-tsm-report.

The older ioctls are left out: ``/dev/tdx_guest`` yields no quote, only a report for the host's
quoting service, and what ``/dev/sev-guest`` yields this interface gives in the same form.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from privity.attest.quoters.endorsements import (
    certificates_endorsement,
    certificates_of,
    fetch_collateral,
)
from privity.errors import InputError, MalformedError, MissingDependency, PeerError
from privity.identity.multibase import encode_base64url

__all__ = ["TSM_REPORTS", "TsmQuoter", "certificate_table", "tsm_kind"]

TSM_REPORTS = Path("/sys/kernel/config/tsm/report")

_KINDS = {"tdx_guest": "tdx", "sev_guest": "snp"}
_REPORT_BYTES = 64
_MAX_QUOTE = 65_536
_MAX_TABLE = 65_536
_ATTEMPTS = 5
_PAUSE_S = 0.2
_BUSY = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})
_ENTRY = struct.Struct("<16sII")
_names = itertools.count()


@dataclass(frozen=True)
class _Report:
    quote: bytes
    aux: bytes


class TsmQuoter:
    """Makes ``tdx`` or ``snp`` evidence, whichever this guest is. This runs in the enclave.

    Args:
        folder: where the kernel offers reports.
        collateral: Intel's, to send along (TDX).
        pccs: a service to fetch it from once, here, where there is no ``collateral``.
        certificates: AMD's, as DER, to send along where the host gives none (SNP).
        pause: waits between attempts.

    Raises:
        MissingDependency: this kernel, or this guest, offers no such reports.
        InputError: this user may not make one.
        PeerError: the platform refused to sign, or the service gave no collateral.

    Guarantees:
        A quote is returned only if nobody else wrote to its report meanwhile
        (tests/adversary/test_quoters.py::test_report_that_another_writer_raced_is_not_returned).
    """

    def __init__(
        self,
        folder: Path = TSM_REPORTS,
        *,
        collateral: dict[str, Any] | None = None,
        pccs: str | None = None,
        certificates: Sequence[bytes] = (),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._pause = pause
        self.kind = tsm_kind(folder)
        self._certificates = tuple(certificates)
        if self.kind == "tdx" and collateral is None and pccs is not None:
            collateral = fetch_collateral(pccs, self._report(bytes(_REPORT_BYTES)).quote)
        self._collateral = collateral

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """Intel's collateral or AMD's certificates, as far as they are known."""
        if self.kind == "tdx":
            if self._collateral is None:
                return ()
            return ({"collateral": self._collateral, "kind": "tdx"},)
        if not self._certificates:
            return ()
        return (certificates_endorsement("snp", self._certificates),)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence that carries these 64 bytes; blocks while the platform signs.

        Raises:
            PeerError: the platform refused, or somebody else kept writing to the report.
        """
        if len(report_data) != _REPORT_BYTES:
            raise MalformedError(f"report data has {_REPORT_BYTES} bytes")
        report = self._report(report_data)
        if self.kind == "tdx":
            return {"kind": "tdx", "quote": encode_base64url(report.quote)}
        # The host may renew its certificates at any firmware update, so each report's are taken.
        found = certificate_table(report.aux)
        if found:
            self._certificates = tuple(found)
        return {"kind": "snp", "report": encode_base64url(report.quote)}

    def _report(self, report_data: bytes) -> _Report:
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._pause(_PAUSE_S)
            try:
                report = self._attempt(report_data)
            except OSError as error:
                if error.errno in _BUSY:
                    continue
                raise _refused(self._folder, error) from None
            if report is not None:
                return report
        raise PeerError(
            "the platform was busy, or another process wrote to the report, each time we asked"
        )

    def _attempt(self, report_data: bytes) -> _Report | None:
        """Make one report; None if somebody else wrote to it between our write and our read."""
        with _entry(self._folder) as entry:
            before = _generation(entry) + _own_level(entry)
            # One write, and closed before the read: the kernel takes a binary attribute on close.
            with (entry / "inblob").open("wb", buffering=0) as inblob:
                inblob.write(report_data)
            quote = (entry / "outblob").read_bytes()
            aux = b""
            with contextlib.suppress(FileNotFoundError):  # TDX has none
                aux = (entry / "auxblob").read_bytes()
            if _generation(entry) != before + 1:
                return None
        if not 0 < len(quote) <= _MAX_QUOTE:
            raise PeerError(f"the platform gave a report of {len(quote)} bytes")
        return _Report(quote, aux)


def tsm_kind(folder: Path = TSM_REPORTS) -> str:
    """Return the kind of evidence this guest's kernel offers: ``tdx`` or ``snp``.

    Raises:
        MissingDependency: none, or one privity does not know.
        InputError: this user may not ask.
    """
    try:
        with _entry(folder) as entry:
            provider = (entry / "provider").read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise _refused(folder, error) from None
    if provider not in _KINDS:
        raise MissingDependency(
            f"the kernel's report provider is {provider[:40]!r}, not known here"
        )
    return _KINDS[provider]


def certificate_table(data: bytes) -> list[bytes]:
    """Return the certificates of SNP's ``auxblob``, each as DER.

    The table is of entries (GUID, offset, length), ended by one of zeros; then the blobs. Source:
    AMD 56421, GHCB Standardization, §4.1.8.1. What is not a certificate (a CRL) is left out. The
    host writes this table: nothing in it is trusted before a verifier has checked it.

    Guarantees:
        Total (tests/property/test_quoters.py).
    """
    found: list[bytes] = []
    if len(data) > _MAX_TABLE:
        return found
    for start in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
        guid, offset, length = _ENTRY.unpack_from(data, start)
        if not any(guid):
            break
        with contextlib.suppress(MalformedError):
            found += certificates_of(data[offset : offset + length])[:1]
        if len(found) == 8:
            break
    return found


@contextlib.contextmanager
def _entry(folder: Path) -> Iterator[Path]:
    """Yield a new report of our own, and take it away again."""
    while True:
        entry = folder / f"privity-{os.getpid()}-{next(_names)}"
        try:
            entry.mkdir()
        except FileExistsError:  # left by a process that was killed and had our number
            continue
        break
    try:
        yield entry
    finally:
        with contextlib.suppress(OSError):
            entry.rmdir()


def _generation(entry: Path) -> int:
    return _number(entry / "generation")


def _own_level(entry: Path) -> int:
    """Ask for a report of the level this guest runs at; return how many writes that took.

    Where a service module holds the highest level of an SNP guest, only lower ones are ours to ask
    for. Whether such a report is accepted is for its verifier to say.
    """
    try:
        floor = _number(entry / "privlevel_floor")
    except FileNotFoundError:  # TDX has no levels
        return 0
    if floor == 0:
        return 0
    (entry / "privlevel").write_text(str(floor))
    return 1


def _number(attribute: Path) -> int:
    text = attribute.read_text("ascii", errors="replace").strip()
    if not text.isdigit() or len(text) > 20:
        raise PeerError(f"the kernel's report has a {attribute.name} that is no number")
    return int(text)


def _refused(folder: Path, error: OSError) -> InputError | MissingDependency | PeerError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(
            f"this user may not make reports below {folder}",
            hint="run the enclave as root in the guest, or give its user that folder; "
            "in a container, mount it writable",
        )
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENOTDIR):
        return MissingDependency(
            f"no confidential guest here: {folder} is absent, or has no provider",
            hint="needs a TDX or SEV-SNP guest with Linux 6.7 or newer, its tdx_guest or "
            "sev-guest module, and configfs mounted",
        )
    name = errno.errorcode.get(error.errno or 0, "an error")
    return PeerError(f"the platform refused to make a report: {name}")

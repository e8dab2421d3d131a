"""Intel quotes and collateral in files, as vendors' tools write them.

A quote comes as the bytes themselves (kernels and SDKs may pad them with zeros), as hex or base64
text, or as the answer of dstack's guest agent: a JSON object whose ``quote`` is hex. Collateral
comes as the JSON of `dcap-qvl`. Each text has one spelling here, so that no bit of it is idle.
"""

from __future__ import annotations

from typing import Any

from privity.attest.evidence import Companions
from privity.attest.intel.collateral import Collateral
from privity.attest.intel.quote import Quote
from privity.errors import MalformedError, OversizeError
from privity.identity.jcs import loads_strict
from privity.identity.multibase import decode_base64, decode_hex, encode_base64url

__all__ = ["MAX_FILE_BYTES", "from_file", "quote_of_file", "read_collateral", "recognises"]

MAX_FILE_BYTES = 1 << 20

_MAX_PADDING = 65_536
_TDX = "tdx"  # the kind whose quotes come with an event log

_ANSWER = {"quote", "event_log", "app_compose", "report_data", "vm_config"}
_ANSWER |= {"hash_algorithm", "prefix", "attestation"}
"""Members of the guest agent's answers. The last four say nothing that the quote does not."""


def recognises(data: bytes, kind: str) -> bool:
    """Return whether a file looks like a quote of this kind, ``tdx`` or ``sgx``. Total."""
    try:
        return quote_of_file(data).tee == kind
    except (MalformedError, OversizeError):
        return False


def from_file(
    data: bytes, companions: Companions, kind: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files.

    Args:
        data: the quote, in one of the forms above.
        companions: collateral may be among them, nothing else.
        kind: what the quote must be: ``tdx`` or ``sgx``.

    Raises:
        MalformedError: no quote of this kind, or not collateral.
    """
    try:
        quote = quote_of_file(data)
        if quote.tee != kind:
            raise MalformedError(f"this is a quote of the kind {quote.tee}, not {kind}")
        evidence = {"kind": kind, "quote": encode_base64url(quote.data)}
        if kind == _TDX:
            evidence |= _guest_agent_parts(data)
        return [evidence], read_collateral(kind, companions)
    except OversizeError as error:
        raise MalformedError(error.message) from None


def quote_of_file(data: bytes) -> Quote:
    """Read the quote in a file.

    Raises:
        OversizeError: the file is larger than `MAX_FILE_BYTES`.
        MalformedError: there is no quote in it, or anything beside it.
    """
    if len(data) > MAX_FILE_BYTES:
        raise OversizeError(f"a file of evidence has more than {MAX_FILE_BYTES} bytes")
    if data.startswith(b"{"):
        return _of_answer(loads_strict(data, max_bytes=MAX_FILE_BYTES))
    if data[1:2] == b"\0":  # the version, little-endian: no text begins like this
        return _of_bytes(data)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("this is no quote") from None
    return _of_text(text.removesuffix("\n"))


def read_collateral(kind: str, companions: Companions) -> list[dict[str, Any]]:
    """Return the endorsement that a file of collateral makes, or none where there is no file.

    Raises:
        MalformedError: it is not collateral, or certificates came with it, which quotes carry.
    """
    if companions.certificates or companions.rims:
        raise MalformedError("an Intel quote carries its certificates: no others are read")
    if companions.collateral is None:
        return []
    try:
        value = loads_strict(companions.collateral, max_bytes=MAX_FILE_BYTES)
    except OversizeError as error:
        raise MalformedError(error.message) from None
    if isinstance(value, dict) and value.get("pck_certificate_chain", "") is None:
        del value["pck_certificate_chain"]
    return [{"collateral": Collateral.from_json(value).to_json(), "kind": kind}]


def _of_bytes(data: bytes) -> Quote:
    size = Quote.size_of(data)
    padding = data[size:]
    if len(padding) > _MAX_PADDING or any(padding):
        raise MalformedError("a quote with bytes after its end")
    return Quote.parse(data[:size])


def _of_text(text: str) -> Quote:
    bare = text.removeprefix("0x")
    try:
        data = decode_hex(bare.lower() if bare.isupper() else bare)  # all capitals, or none
    except MalformedError:
        data = _of_base64(text)
    return _of_bytes(data)


def _of_base64(text: str) -> bytes:
    try:
        return decode_base64(text)
    except MalformedError:
        raise MalformedError("this is neither a quote nor one in hex or base64") from None


def _of_answer(answer: Any) -> Quote:
    if not isinstance(answer, dict) or not isinstance(answer.get("quote"), str):
        raise MalformedError("a JSON object without a quote")
    if unknown := answer.keys() - _ANSWER:
        raise MalformedError(f"{min(unknown)!r:.40} is no member of a guest agent's answer")
    quote = _of_text(answer["quote"])
    carried = answer.get("report_data", quote.body["report_data"].hex())
    if carried != quote.body["report_data"].hex():
        raise MalformedError("the answer names other report data than the quote carries")
    return quote


def _guest_agent_parts(data: bytes) -> dict[str, Any]:
    """Return event log and app-compose where the file is an answer of dstack's guest agent."""
    if not data.startswith(b"{"):
        return {}
    answer = loads_strict(data, max_bytes=MAX_FILE_BYTES)
    found: dict[str, Any] = {}
    log = answer.get("event_log")
    if isinstance(log, str):
        log = loads_strict(log.encode("utf-8", "surrogatepass"), max_bytes=MAX_FILE_BYTES)
    if log:
        if not isinstance(log, list) or not all(isinstance(event, dict) for event in log):
            raise MalformedError("the event log is no list of events")
        # The other registers' events are the firmware's; the quote itself shows their sum.
        found["event_log"] = [event for event in log if event.get("imr") == 3]
    if "app_compose" in answer:
        found["app_compose"] = answer["app_compose"]
    return found

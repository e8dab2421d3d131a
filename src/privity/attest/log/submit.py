"""How an entry gets into a log: the enclave submits it, and gets an endorsement to publish."""

from __future__ import annotations

from typing import Any

import httpx

from privity.attest.log.entry import Entry, read_entry
from privity.attest.log.proof import LogEndorsement
from privity.attest.log.source import read_body
from privity.errors import MalformedError, OversizeError, PeerError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.multibase import encode_base64url
from privity.wording import failure_words

__all__ = ["ADD_PATH", "Submission", "submission", "submit"]

ADD_PATH = "/add"
MAX_BYTES = 8192
"""Largest submission, in bytes."""

_LABEL = b"privity/log-add/v1\0"
_ENDORSEMENT_BYTES = 131_072
_SIGNATURE_BYTES = 64


class Submission:
    """An entry someone wants in a log, its signature verified where it has one.

    Attributes:
        entry: the entry.
        submitter: the did:key that signed the submission; None if nobody did.
    """

    def __init__(self, entry: Entry, submitter: str | None) -> None:
        self.entry = entry
        self.submitter = submitter

    @classmethod
    def parse(cls, data: bytes) -> Submission:
        """Read a submission. This is run by the log.

        Raises:
            OversizeError: more than `MAX_BYTES`.
            MalformedError: it is none.
            OpenError: its signature does not verify.
        """
        fields = Fields(loads_strict(data, max_bytes=MAX_BYTES), "log submission")
        entry = read_entry(fields.take("entry"))
        submitter = fields.optional("key", fields.text)
        if submitter is None:
            fields.constant("signature", None)
        else:
            signature = fields.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
            VerifyKey(submitter).verify(signature, _LABEL + canonical(entry.to_json()))
        fields.done()
        return cls(entry, submitter)


def submission(entry: Entry, key: SigningKey | None) -> bytes:
    """Return the bytes to send to a log, signed where there is a key."""
    body = entry.to_json()
    signature = None
    if key is not None:
        signature = encode_base64url(key.sign(_LABEL + canonical(body)))
    return canonical(
        {"entry": body, "key": None if key is None else key.did, "signature": signature}
    )


async def submit(
    url: str, entry: Entry, *, http: httpx.AsyncClient, key: SigningKey | None = None
) -> dict[str, Any]:
    """Have a log record an entry, and return its endorsement. This is run by the enclave.

    An entry that is there already is not added again, so an enclave submits the same one whenever
    it wants an endorsement with fresh cosignatures.

    Args:
        url: the log's prefix.
        entry: what to record.
        http: the client to use.
        key: signs the submission, for logs that take entries of known keys alone.

    Raises:
        PeerError: the log cannot be reached, refuses, or answers with anything but an endorsement
            of this entry. Its proofs are left to whoever verifies them.
    """
    try:
        async with http.stream(
            "POST",
            url.rstrip("/") + ADD_PATH,
            content=submission(entry, key),
            headers={"content-type": "application/json"},
            follow_redirects=False,
        ) as answer:
            if answer.status_code != 200:
                raise PeerError(
                    f"the log refused the entry (HTTP {answer.status_code})",
                    hint="is this key among those that may add to it?"
                    if answer.status_code == 403
                    else "",
                )
            body = await read_body(answer, _ENDORSEMENT_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise PeerError(f"the log cannot be reached: {failure_words(error)}") from error
    try:
        endorsement = LogEndorsement.from_json(loads_strict(body))
    except (MalformedError, OversizeError) as error:
        raise PeerError(f"the log answered outside the protocol: {error.message}") from None
    if endorsement.entry != entry.to_json():
        raise PeerError("the log endorsed another entry than the one sent")
    return endorsement.to_json()

"""The owner's side: grants given, to a broker in a folder of this machine or to one elsewhere.

A copy of every grant stays in the privity home, with the broker it went to, so that it can be
revoked. A broker elsewhere gets an artefact key only after its statement was verified: it will
hold the key itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from privity.attest.grant import SignedGrant
from privity.attest.grant_revocation import SignedGrantRevocation
from privity.attest.release import seal_deposit
from privity.attest.trust import Trust
from privity.attest.verify import verify_statement
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError, InputError, MalformedError, PeerError, SealError
from privity.home import read_private, write_private
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.node.broker import Broker
from privity.node.deposit import Deposit
from privity.node.key_client import GRANT_PATH, REVOKE_PATH, refusal_of
from privity.statement import MAX_BYTES, NONCE_BYTES, PATH
from privity.wording import failure_words

__all__ = ["Given", "given", "is_url", "keep", "local_broker", "revoke_at", "send"]

_TIMEOUT_S = 30.0
_MAX_COPY = 131_072


@dataclass(frozen=True)
class Given:
    """A grant this person gave.

    Attributes:
        signed: the grant.
        broker: the URL or the folder of the broker it went to.
        revocation: how this person took it back, once the broker had that.
    """

    signed: SignedGrant
    broker: str
    revocation: SignedGrantRevocation | None = None


def is_url(broker: str) -> bool:
    """Tell whether a broker is named by a URL; otherwise it is a folder."""
    return broker.startswith(("http://", "https://"))


def local_broker(folder: Path, owner: str, *, clock: Clock = utc_now) -> Broker:
    """Return the broker in a folder of this machine, to write to directly.

    Raises:
        InputError: the folder cannot be read or written.
        EvidenceError: its log is not what it was.
    """
    return Broker(folder, owners=(owner,), trust=Trust(), clock=clock)


def keep(folder: Path, one: Given) -> None:
    """Keep a copy of a grant in the home's ``grants`` folder."""
    content = {"broker": one.broker, "signed": one.signed.to_json()}
    if one.revocation is not None:
        content["revocation"] = one.revocation.to_json()
    write_private(folder / f"{one.signed.digest.removeprefix('sha256:')}.json", canonical(content))


def given(folder: Path) -> list[Given]:
    """Return the copies in the home's ``grants`` folder, the newest first.

    Raises:
        InputError: one of them is not what was kept.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_given(loads_strict(read_private(path), max_bytes=_MAX_COPY)))
        except (SealError, EvidenceError) as error:
            raise InputError(f"{path} is not a grant you gave: {error.message}") from None
    return sorted(found, key=lambda one: one.signed.grant.issued, reverse=True)


def _given(value: Any) -> Given:
    # A copy of a grant that was not taken back has no revocation.
    fields = Fields({"revocation": None, **value} if isinstance(value, dict) else value, "copy")
    signed = SignedGrant.from_json(fields.object("signed"))
    taken = fields.optional("revocation", fields.object)
    revocation = None if taken is None else SignedGrantRevocation.from_json(taken)
    one = Given(signed, fields.text("broker"), revocation)
    fields.done()
    if revocation is not None and revocation.revocation.grant != signed.digest:
        raise MalformedError("the revocation is of another grant")
    return one


def send(
    broker: str,
    signed: SignedGrant,
    key: bytes,
    signer: SigningKey,
    *,
    trust: Trust,
    unsafe_dev: bool,
    transport: httpx.BaseTransport | None = None,
    clock: Clock = utc_now,
    randomness: Callable[[int], bytes] = os.urandom,
) -> AttestedEnclave:
    """Verify a broker and give it a grant with the artefact's key. Run by the owner.

    Args:
        broker: its URL.
        signed: the grant.
        key: the artefact key, sealed to nobody but the broker that was verified.
        signer: the owner's key.
        trust: what the owner accepts of a broker.
        unsafe_dev: accept a broker that only ``dev`` evidence vouches for.
        transport: how to reach it.
        clock: the time its evidence is judged at.
        randomness: where the challenge comes from.

    Raises:
        EvidenceError: the broker does not verify, or refuses the grant; ``.check`` says why.
        PeerError: it cannot be reached, or answers outside the protocol.
    """
    with _client(broker, transport) as http:
        nonce = randomness(NONCE_BYTES)
        data = _get(http, PATH, {"nonce": encode_base64url(nonce)})
        attested = verify_statement(data, nonce=nonce, trust=trust, now=clock())
        if attested.dev and not unsafe_dev:
            raise EvidenceError(
                "the broker's evidence is of the kind dev: its host could read your key",
                check="dev evidence",
                hint="--unsafe-dev accepts that by name, for trying things out",
            )
        deposit = Deposit.make(signed, seal_deposit(attested, signed, key), signer)
        _post(http, GRANT_PATH, deposit.to_json())
    return attested


def revoke_at(
    broker: str, revocation: SignedGrantRevocation, *, transport: httpx.BaseTransport | None = None
) -> bool:
    """Revoke a grant at a broker elsewhere; tell whether it still stood. Run by the owner.

    Raises:
        EvidenceError: the grant is not yours to take back there.
        PeerError: it cannot be reached. The grant then still stands: try again.
    """
    with _client(broker, transport) as http:
        reply = _post(http, REVOKE_PATH, {"revocation": revocation.to_json()})
    return not isinstance(reply, dict) or reply.get("log") is not None


def _client(broker: str, transport: httpx.BaseTransport | None) -> httpx.Client:
    try:
        return httpx.Client(
            base_url=broker.rstrip("/"),
            transport=transport,
            timeout=_TIMEOUT_S,
            trust_env=False,
            follow_redirects=False,
        )
    except httpx.InvalidURL as error:
        raise InputError(f"the broker's URL is not one: {error}") from error


def _get(http: httpx.Client, path: str, params: dict[str, str]) -> bytes:
    return _answer(http, httpx.Request("GET", _url(http, path), params=params))


def _post(http: httpx.Client, path: str, value: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json"}
    request = httpx.Request("POST", _url(http, path), content=canonical(value), headers=headers)
    try:
        return loads_strict(_answer(http, request))
    except (MalformedError, json.JSONDecodeError):
        raise PeerError("the broker's answer does not parse") from None


def _url(http: httpx.Client, path: str) -> str:
    return str(http.base_url).rstrip("/") + path


def _answer(http: httpx.Client, request: httpx.Request) -> bytes:
    try:
        response = http.send(request, stream=True)
        try:
            data = bytearray()
            for piece in response.iter_bytes():
                data += piece
                if len(data) > MAX_BYTES:
                    raise PeerError("the broker's answer is larger than any it should give")
        finally:
            response.close()
    except httpx.HTTPError as error:
        raise PeerError(
            f"the broker cannot be reached: {failure_words(error)}", hint="is it running?"
        ) from None
    if response.status_code != 200:
        raise refusal_of(response.status_code, bytes(data))
    return bytes(data)

"""The release of a key: to attested code alone, for one challenge, under the owner's grant.

Three steps, each of which needs the type that the one before made: `verify_boot` turns a statement
into an `AttestedEnclave`; `authorize` holds that against the grant and alone makes an
`AuthorizedRelease`; `seal_key` seals to the key which that release is about. So no key is sealed
to an enclave nobody judged. Protocol and wire format: spec/key-release.md.

The enclave's side is `BootKeys`: keys made for one exchange, which serve nothing else.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import NoReturn, Protocol

from privity.attest.grant import Grant, Purpose, SignedGrant
from privity.attest.manifest import shows
from privity.attest.trust import Trust
from privity.attest.verify import verify_statement
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError, InputError, MalformedError, OpenError
from privity.hazmat.aead import AES_256_GCM
from privity.hazmat.hpke import SUITES, setup_recipient, setup_sender
from privity.hazmat.kdf import HKDF_SHA256
from privity.hazmat.kem_xwing import XWing, XWingKey
from privity.identity.jcs import canonical
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, format_time
from privity.statement import Keyset, Nonce, Software

__all__ = [
    "CHALLENGE_S",
    "KEY_BYTES",
    "AuthorizedRelease",
    "BootKeys",
    "NoPayment",
    "Payment",
    "Role",
    "Standing",
    "authorize",
    "open_deposit",
    "program_of",
    "seal_deposit",
    "seal_key",
    "trust_for",
    "verify_boot",
]

CHALLENGE_S = 60.0
"""Seconds in which a challenge must be answered."""

KEY_BYTES = 32

_SUITE = SUITES[XWing.id, HKDF_SHA256, AES_256_GCM.id]
_SEALED_BYTES = XWing.n_enc + KEY_BYTES + AES_256_GCM.tag_size
_RELEASE_LABEL = b"privity/key-release/v1\0"
_DEPOSIT_LABEL = b"privity/key-deposit/v1\0"

# The one key configuration of a boot keyset (RFC 9458 §3.1), around its public key: identifier 0,
# X-Wing, one pair of algorithms. Gateways publish others, so that the keyset prompts are sealed to
# can never be taken for one that a key may be released to.
_SIZE = (1 + 2 + XWing.n_pk + 2 + 4).to_bytes(2, "big")
_BEFORE = _SIZE + b"\0" + XWing.id.to_bytes(2, "big")
_AFTER = b"\0\4" + HKDF_SHA256.to_bytes(2, "big") + AES_256_GCM.id.to_bytes(2, "big")


class Role:
    """What a boot keyset is for, the software entry ``role``: no statement serves two purposes."""

    BOOT = "boot"
    """To receive artefact keys. An enclave's."""
    BROKER = "broker"
    """To receive grants and the keys they are about. A broker's."""


class BootKeys:
    """Keys of one exchange, in memory alone. Made by the enclave, or by a broker for its owners.

    Args:
        receipts: the did:key that names this process. A lease is renewed under the same one.
        role: one of `Role`.
        software: what else the keyset names, such as ``program`` and its digest.

    Attributes:
        keyset: what the statement lists; the evidence binds it.
    """

    def __init__(
        self, receipts: str, *, role: str = Role.BOOT, software: Sequence[Software] = ()
    ) -> None:
        self._private: XWingKey = XWing().generate()
        named = (Software("privity", version("privity")), Software("role", role), *software)
        ohttp = _BEFORE + self._private.public_bytes + _AFTER
        self.keyset = Keyset(ohttp=ohttp, receipts=receipts, software=named)

    def open_key(
        self, sealed: bytes, *, nonce: bytes, statement: str, signed: SignedGrant
    ) -> bytes:
        """Return the artefact key that `seal_key` sealed. This is run by the enclave.

        Args:
            sealed: from the broker.
            nonce: the challenge that was answered.
            statement: digest of the statement it was answered with.
            signed: the grant the broker says it acted on.

        Raises:
            OpenError: it was sealed to other keys, for another challenge, statement or grant, or
                altered.
        """
        return _open(self._private, sealed, _release_info(signed, nonce, statement))

    def __repr__(self) -> str:
        return f"BootKeys({self.keyset.digest})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("boot keys live and die in one process")


@dataclass(frozen=True)
class Standing:
    """What a broker's log says of a grant at this moment.

    Attributes:
        revoked: the owner's reason, or None.
        uses: how often its key was released.
        renewing: the enclave that asks holds a lease under it which still runs.
        ended: its end was noted, or no lease fits before it.
    """

    revoked: str | None = None
    uses: int = 0
    renewing: bool = False
    ended: bool = False


class Payment(Protocol):
    """Takes the price of a use. A broker has one."""

    def settle(self, grant: Grant, enclave: AttestedEnclave) -> str:
        """Return a text that proves the payment, for the log.

        It may be called again for the same statement after a crash, and must not charge twice.

        Raises:
            EvidenceError: ``.check`` is ``payment``: it was not paid.
        """


class NoPayment:
    """Settles nothing: a broker without a ledger refuses grants that cost something."""

    def settle(self, grant: Grant, enclave: AttestedEnclave) -> str:
        """Refuse."""
        raise EvidenceError(
            "the grant has a price, and this broker has no way to take payment", check="payment"
        )


_MINT = object()


@dataclass(frozen=True)
class AuthorizedRelease:
    """That one enclave may have one key, for one challenge. `authorize` alone makes it.

    Attributes:
        signed: the grant it rests on.
        enclave: whom the key may be sealed to.
        nonce: the challenge.
        renewal: a lease goes on; no new use was counted.
        receipt: what the payment left; empty where nothing was due.

    Guarantees:
        No other code can construct one
        (tests/adversary/test_release.py::test_only_authorize_makes_a_release).
    """

    signed: SignedGrant
    enclave: AttestedEnclave
    nonce: bytes
    renewal: bool
    receipt: str
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("an AuthorizedRelease comes from privity.attest.release.authorize")


def trust_for(grant: Grant, trust: Trust) -> Trust:
    """Return what the grant makes of its owner's trust: its own signers and its own floor."""
    policy = replace(grant.policy, reference=bool(grant.signers), log=False)
    return replace(trust, signers=grant.signers, policy=policy, logs=(), witnesses=())


def verify_boot(
    data: bytes, *, nonce: bytes, signed: SignedGrant, trust: Trust, now: datetime
) -> AttestedEnclave:
    """Return the enclave that answered the challenge, judged under the grant. Run by the broker.

    Raises:
        EvidenceError: as `verify_statement`.
    """
    return verify_statement(data, nonce=nonce, trust=trust_for(signed.grant, trust), now=now)


def authorize(
    signed: SignedGrant,
    enclave: AttestedEnclave,
    *,
    artefact: str,
    purpose: Purpose,
    nonce: bytes,
    now: datetime,
    standing: Standing,
    payment: Payment | None = None,
) -> AuthorizedRelease:
    """Return the release, if the grant allows it to this enclave. Run by the owner's side.

    What the grant itself says comes first, then what the statement is for, then what code it
    shows, and the payment last, so that nobody pays for what is refused. Nothing compared here is
    secret: grants, statements and challenges are known to whoever asks, so how long a comparison
    takes tells nothing. The challenge is compared in constant time all the same, because it is
    the one value that somebody else might still have to guess.

    Args:
        signed: the owner's grant.
        enclave: from `verify_boot`, under the same grant.
        artefact: what was asked for, when the challenge was drawn.
        purpose: what for.
        nonce: the challenge.
        now: the time.
        standing: what happened under the grant so far.
        payment: takes the price; by default `NoPayment`.

    Raises:
        EvidenceError: ``.check`` is ``artefact``, ``purpose``, ``grant revoked``,
            ``grant period``, ``grant uses``, ``nonce``, ``boot keyset``, ``dev evidence``,
            ``measurement``, ``reference value``, ``program`` or ``payment``.
    """
    grant = signed.grant
    _check_asked(grant, artefact, purpose)
    _check_standing(grant, standing, now)
    freshness = enclave.statement.freshness
    if not isinstance(freshness, Nonce) or not hmac.compare_digest(freshness.value, nonce):
        raise EvidenceError("the statement was made for another challenge", check="nonce")
    _public_key(enclave.keyset, Role.BOOT)
    _check_code(grant, enclave)
    receipt = ""
    if grant.price is not None and not standing.renewing:
        receipt = (payment or NoPayment()).settle(grant, enclave)
    return AuthorizedRelease(signed, enclave, nonce, standing.renewing, receipt, mint=_MINT)


def seal_key(release: AuthorizedRelease, key: bytes) -> bytes:
    """Return the artefact key, sealed to the enclave of the release and bound to all of it.

    HPKE with X-Wing and AES-256-GCM, its ``info`` naming artefact, grant, challenge and statement:
    what was sealed for one exchange opens in no other.

    Raises:
        MalformedError: the key is not of `KEY_BYTES`, or the attested one is not usable.
    """
    public = _public_key(release.enclave.keyset, Role.BOOT)
    info = _release_info(release.signed, release.nonce, release.enclave.statement_digest)
    return _seal(public, key, info)


def program_of(keyset: Keyset) -> str | None:
    """Return the digest of the one training program a keyset names, or None.

    Raises:
        EvidenceError: ``.check`` is ``program``: it names several.
    """
    named = [one.version for one in keyset.software if one.name == "program"]
    if len(named) > 1:
        raise EvidenceError("the enclave names more than one training program", check="program")
    return named[0] if named else None


def seal_deposit(broker: AttestedEnclave, signed: SignedGrant, key: bytes) -> bytes:
    """Return an artefact key sealed to a broker that was attested. Run by the owner.

    Raises:
        EvidenceError: ``.check`` is ``boot keyset``: it is no broker's statement.
        MalformedError: the key is not of `KEY_BYTES`.
    """
    info = _DEPOSIT_LABEL + canonical({"grant": signed.digest})
    return _seal(_public_key(broker.keyset, Role.BROKER), key, info)


def open_deposit(keys: BootKeys, sealed: bytes, signed: SignedGrant) -> bytes:
    """Return the artefact key an owner sent with a grant. Run by the broker.

    Raises:
        OpenError: it was sealed to other keys or with another grant, or altered.
    """
    info = _DEPOSIT_LABEL + canonical({"grant": signed.digest})
    return _open(keys._private, sealed, info)


def _check_asked(grant: Grant, artefact: str, purpose: Purpose) -> None:
    if grant.artefact != artefact:
        raise EvidenceError("the grant is for another artefact", check="artefact")
    if grant.purpose is not purpose:
        raise EvidenceError(
            f"the grant is to {grant.purpose.value}, not to {purpose.value}", check="purpose"
        )


def _check_standing(grant: Grant, standing: Standing, now: datetime) -> None:
    if standing.revoked is not None:
        raise EvidenceError(
            f"the owner revoked the grant: {standing.revoked}", check="grant revoked"
        )
    if now - grant.issued < -CLOCK_SKEW or now >= grant.expires or standing.ended:
        span = f"{format_time(grant.issued)} to {format_time(grant.expires)}"
        raise EvidenceError(f"the grant is good from {span}", check="grant period")
    if grant.uses is not None and not standing.renewing and standing.uses >= grant.uses:
        raise EvidenceError(f"the grant's {grant.uses} use(s) are used up", check="grant uses")


def _check_code(grant: Grant, enclave: AttestedEnclave) -> None:
    if enclave.dev and not grant.unsafe_dev:
        raise EvidenceError(
            "the evidence is of the kind dev, which keeps a key from nobody; the grant does not "
            "accept that by name",
            check="dev evidence",
        )
    for evidence in enclave.evidence:
        if grant.measurements and not any(
            shows(one, evidence.kind, evidence.registers) for one in grant.measurements
        ):
            raise EvidenceError(
                f"the grant does not list {evidence.kind} {evidence.measurement}",
                check="measurement",
            )
    approved = enclave.approved
    # Looked at here too: verification asks no approval of dev evidence, a grant with signers does.
    if grant.signers and (approved is None or approved.signer not in grant.signers):
        raise EvidenceError(
            "no signer that the grant names approves this code", check="reference value"
        )
    program = program_of(enclave.keyset)
    if grant.programs and program not in grant.programs:
        raise EvidenceError("the training program is not one the grant lists", check="program")
    if not grant.programs and program is not None:
        raise EvidenceError("the grant lists no training program", check="program")


def _public_key(keyset: Keyset, role: str) -> bytes:
    """Return the one key of a boot keyset; the form is fixed, byte for byte."""
    roles = [one.version for one in keyset.software if one.name == "role"]
    whole = len(_BEFORE) + XWing.n_pk + len(_AFTER)
    framed = keyset.ohttp.startswith(_BEFORE) and keyset.ohttp.endswith(_AFTER)
    if keyset.models or roles != [role] or len(keyset.ohttp) != whole or not framed:
        raise EvidenceError(
            f"the statement is not of keys made for this alone (role {role})", check="boot keyset"
        )
    return keyset.ohttp[len(_BEFORE) : -len(_AFTER)]


def _release_info(signed: SignedGrant, nonce: bytes, statement: str) -> bytes:
    return _RELEASE_LABEL + canonical(
        {
            "artefact": signed.grant.artefact,
            "grant": signed.digest,
            "nonce": encode_base64url(nonce),
            "statement": statement,
        }
    )


def _seal(public_key: bytes, key: bytes, info: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise MalformedError(f"an artefact key has {KEY_BYTES} bytes")
    enc, context = setup_sender(_SUITE, public_key, info)
    return enc + context.seal(key)


def _open(private: XWingKey, sealed: bytes, info: bytes) -> bytes:
    if len(sealed) != _SEALED_BYTES:
        raise OpenError("the sealed key cannot be opened with this key")
    context = setup_recipient(_SUITE, private, sealed[: XWing.n_enc], info)
    return context.open(sealed[XWing.n_enc :])

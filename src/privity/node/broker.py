"""Floor 5: the broker: keeps artefact keys for their owners and decides who gets one.

A folder holds the grants, the keys (wrapped under the broker's own) and the log of decisions. The
log is the state: how often a key was released, which leases run and what was revoked is read from
it, so that a process killed at any moment forgets nothing, and several processes on one folder
agree. Nothing is released, and no grant is over, before its line is on disk.

`privity.node.broker_app` puts this behind HTTP. Protocol: spec/key-release.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from privity.attest.grant import Grant, Purpose, SignedGrant
from privity.attest.grant_revocation import SignedGrantRevocation
from privity.attest.release import (
    KEY_BYTES,
    AuthorizedRelease,
    NoPayment,
    Payment,
    authorize,
    seal_key,
    verify_boot,
)
from privity.attest.trust import Trust
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError, InputError, MalformedError, PrivityError
from privity.home import read_private
from privity.identity.digests import digest
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, Clock, format_time, utc_now
from privity.node.broker_log import DecisionLog, Line
from privity.node.grant_state import GrantState
from privity.node.kept_keys import KEYS, KeptKeys, write_kept

__all__ = ["Asked", "Broker", "GrantState"]

logger = logging.getLogger("privity.broker")

_GRANTS = "grants"


@dataclass(frozen=True)
class Asked:
    """What a challenge was drawn for.

    Attributes:
        artefact: the artefact's id.
        purpose: what for.
        nonce: the challenge.
    """

    artefact: str
    purpose: Purpose
    nonce: bytes


class Broker:
    """The grants and keys in one folder, and every decision about them.

    Args:
        folder: where they lie, 0700; made if there is none.
        owners: did:keys whose grants are taken.
        trust: the owners' roots; each grant puts its own signers and floor in place.
        payment: takes the price of a use; by default priced grants are refused.
        clock: the broker's time. It counts from the latest line of the log on: a clock set back
            makes nothing that ended begin again.

    Raises:
        InputError: the folder cannot be read or written.
        EvidenceError: its log is not what it was; ``.check`` says how.

    Guarantees:
        What was decided is in the log before it takes effect, uses survive a kill at any moment
        (tests/unit/test_broker_log.py), what the log says is over stays over, whatever the clock
        says (tests/adversary/test_broker_time.py), and no refusal, log line or error holds a key
        (tests/adversary/test_broker.py).
    """

    def __init__(
        self,
        folder: Path,
        *,
        owners: tuple[str, ...],
        trust: Trust,
        payment: Payment | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._folder, self._owners, self._trust = folder, frozenset(owners), trust
        self._payment = payment or NoPayment()
        self._clock = clock
        self._latest, self._told = datetime.min.replace(tzinfo=UTC), False
        self._grants: dict[str, GrantState] = {}
        # Reasons of owners who took a grant back before it came, by grant and owner.
        self._early: dict[tuple[str, str], str] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (_GRANTS, KEYS):
                (folder / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder} cannot be a broker's folder: {error.strerror}",
                hint="name a folder of yours, or one that can be made",
            ) from error
        self._keys = KeptKeys(folder)
        self._log = DecisionLog(folder, self._follow)
        with self._log.writing():
            self._now()  # says so at once where the clock is behind the log

    def grants(self) -> list[GrantState]:
        """Return every grant as it stands now, the newest first."""
        with self._log.writing():
            self._note_expired(self._now())
            return sorted(self._grants.values(), key=lambda one: one.age, reverse=True)

    def add(self, signed: SignedGrant, key: bytes) -> Line | None:
        """Keep a grant and its artefact's key. The same grant again changes nothing.

        Returns:
            The log line, or None where the grant was there already.

        Raises:
            EvidenceError: ``.check`` is ``owner`` (of nobody this broker serves),
                ``grant revoked`` (before it came), ``artefact owner`` (another granted it here
                first) or ``root`` (the artefact is known by another).
            InputError: the key is not one, or cannot be written.
        """
        grant = signed.grant
        if grant.owner not in self._owners:
            raise EvidenceError("this broker keeps no keys of that owner", check="owner")
        if len(key) != KEY_BYTES:
            raise InputError(f"an artefact key has {KEY_BYTES} bytes")
        with self._log.writing():
            if signed.digest in self._grants:
                return None
            if (reason := self._early.get((signed.digest, grant.owner))) is not None:
                raise EvidenceError(f"the owner revoked the grant: {reason}", check="grant revoked")
            if self._owner_of(grant.artefact) not in (None, grant.owner):
                raise EvidenceError(
                    "another owner granted this artefact here first",
                    check="artefact owner",
                    hint="seal it anew, which gives it an id of its own, or take another broker",
                )
            for one in self._of(grant.artefact):
                if one.signed.grant.root != grant.root:
                    raise EvidenceError("the artefact was granted with another root", check="root")
            self._keys.put(grant, key)
            write_kept(self._grant_path(signed.digest), signed.to_bytes())
            return self._log.append("added", self._now(), _about(grant))

    def revoke(self, signed: SignedGrantRevocation) -> Line | None:
        """End a grant, also one that is still to come. Once more changes nothing.

        Raises:
            EvidenceError: ``.check`` is ``grant`` (there is none, and the owner is not one of this
                broker's) or ``owner`` (it is another's).
        """
        revocation = signed.revocation
        with self._log.writing():
            state = self._grants.get(revocation.grant)
            if state is None:
                return self._revoke_early(signed)
            if state.signed.grant.owner != revocation.owner:
                raise EvidenceError("only the owner of a grant revokes it", check="owner")
            if state.revoked is not None:
                return None
            about = {**_about(state.signed.grant), "revocation": signed.to_json()}
            return self._log.append("revoked", self._now(), about)

    def _revoke_early(self, signed: SignedGrantRevocation) -> Line | None:
        """Keep an owner's word about a grant that somebody may still bring."""
        revocation = signed.revocation
        if revocation.owner not in self._owners:
            raise EvidenceError("this broker keeps no such grant", check="grant")
        if (revocation.grant, revocation.owner) in self._early:
            return None
        about = {"grant": revocation.grant, "owner": revocation.owner}
        return self._log.append("revoked", self._now(), about | {"revocation": signed.to_json()})

    def release(self, asked: Asked, statement: bytes) -> dict[str, Any]:
        """Return the answer with the sealed key, or refuse. Either is in the log first.

        The statement is verified before anything of a grant is compared, so that whoever cannot
        attest learns nothing of grants; that costs the broker work, which single use of a bounded
        number of challenges holds in bounds. Several grants may be for one artefact: the newest
        that allows the release is used, and a refusal gives the reason of the newest that is not
        over, or of the newest.

        Args:
            asked: what the challenge was drawn for; spent, whatever comes of it.
            statement: what answered it.

        Raises:
            EvidenceError: ``.check`` names what did not hold; see `authorize`, and ``grant`` where
                there is none.
            InputError: the log or a key cannot be read or written; nothing is released.
        """
        with self._log.writing():
            now = self._now()
            self._note_expired(now)
            state = None
            try:
                state, release = self._decide(asked, statement, now)
                if isinstance(release, EvidenceError):
                    raise release
                sealed = seal_key(release, self._keys.get(release.signed.grant))
            except PrivityError as error:
                told = self._with_lag(error)
                self._log.append("refused", now, _refusal(asked, statement, told, state))
                raise told from None
            grant, lease_s = release.signed.grant, state.lease_s(now)
            # Times in the log are whole seconds: rounded up, so that no renewal that is in time for
            # the enclave, which counts exactly, is a new use.
            until = now + timedelta(seconds=lease_s + 1, microseconds=-1)
            about = {**_about(grant), "enclave": _enclave(release.enclave)}
            about |= {"lease": format_time(until), "payment": release.receipt}
            line = self._log.append("renewed" if release.renewal else "granted", now, about)
        return {
            "grant": release.signed.to_json(),
            "lease_s": lease_s,
            "log": {"digest": line.digest, "number": line.number},
            "root": grant.root,
            "sealed": encode_base64url(sealed),
        }

    def note_refusal(self, asked: Asked, statement: bytes, error: EvidenceError) -> None:
        """Log a refusal that was decided before the statement was looked at."""
        with self._log.writing():
            self._log.append("refused", self._now(), _refusal(asked, statement, error))

    def note_expired(self) -> None:
        """Log the grants that ended since this was last looked at."""
        with self._log.writing():
            self._note_expired(self._now())

    def _now(self) -> datetime:
        """Return the time to decide by: the clock's, and never before the log's; in `writing`."""
        if (lag := self._lag()) and not self._told:
            self._told = True
            logger.warning("%s: decisions count from there, see spec/key-release.md", lag)
        return max(self._clock(), self._latest)

    def _lag(self) -> str:
        """Say that the clock is behind the log, if it is by more than clocks differ."""
        clock = self._clock()
        if self._latest - clock <= CLOCK_SKEW:
            return ""
        times = format_time(self._latest), format_time(clock)
        return "the broker's log is at {}, ahead of its clock at {}".format(*times)

    def _with_lag(self, error: PrivityError) -> PrivityError:
        """Return a refusal that says so too where the time it was decided at is the log's."""
        lag = self._lag()
        if not lag or not isinstance(error, EvidenceError):
            return error
        return EvidenceError(f"{error.message} ({lag})", check=error.check, hint=error.hint)

    def _decide(
        self, asked: Asked, statement: bytes, now: datetime
    ) -> tuple[GrantState, AuthorizedRelease | EvidenceError]:
        """Return the grant that counts, and what it allows or why it does not."""
        found = sorted(self._of(asked.artefact), key=lambda one: one.age, reverse=True)
        # Those for another purpose too, where there are no others: then that is the reason.
        fitting = [one for one in found if one.signed.grant.purpose is asked.purpose]
        refusals: list[tuple[GrantState, EvidenceError]] = []
        for state in fitting or found:
            try:
                return state, self._judge(state, asked, statement, now)
            except EvidenceError as error:
                refusals.append((state, error))
        if not refusals:
            raise EvidenceError("there is no grant for this artefact", check="grant")
        return min(refusals, key=lambda one: one[0].over(now))

    def _judge(
        self, state: GrantState, asked: Asked, statement: bytes, now: datetime
    ) -> AuthorizedRelease:
        signed = state.signed
        enclave = verify_boot(
            statement, nonce=asked.nonce, signed=signed, trust=self._trust, now=now
        )
        return authorize(
            signed,
            enclave,
            artefact=asked.artefact,
            purpose=asked.purpose,
            nonce=asked.nonce,
            now=now,
            standing=state.standing(enclave.keyset.receipts, now),
            payment=self._payment,
        )

    def _owner_of(self, artefact: str) -> str | None:
        """Return who granted an artefact here first: whose it is, as long as there is the log."""
        granted = (one.signed.grant for one in self._grants.values())  # in the order of the log
        return next((one.owner for one in granted if one.artefact == artefact), None)

    def _of(self, artefact: str) -> list[GrantState]:
        """Return the grants of an artefact that count: its owner's."""
        of = artefact, self._owner_of(artefact)
        states = self._grants.values()
        return [one for one in states if (one.signed.grant.artefact, one.signed.grant.owner) == of]

    def _note_expired(self, now: datetime) -> None:
        for state in list(self._grants.values()):
            over = now >= state.signed.grant.expires
            if over and not state.expired and state.revoked is None:
                self._log.append("expired", now, _about(state.signed.grant))

    def _follow(self, line: Line) -> None:
        """Take what a line of the log says into account."""
        self._latest = max(self._latest, line.time)
        name = line.about.get("grant")
        if not isinstance(name, str):
            return
        try:
            if line.event == "added":
                self._grants[name] = GrantState(self._read_grant(name))
            elif name in self._grants:
                self._grants[name] = self._grants[name].after(line)
            elif line.event == "revoked":
                taken = SignedGrantRevocation.from_json(line.about["revocation"]).revocation
                self._early[taken.grant, taken.owner] = taken.reason
        except (MalformedError, KeyError, TypeError):
            raise EvidenceError(
                f"line {line.number} of the log does not say what its event has to",
                check="log line",
            ) from None

    def _read_grant(self, name: str) -> SignedGrant:
        path = self._grant_path(name)
        signed = SignedGrant.parse(read_private(path))
        if signed.digest != name:
            raise EvidenceError(f"{path} is not the grant of the log", check="log grant")
        return signed

    def _grant_path(self, name: str) -> Path:
        return self._folder / _GRANTS / f"{name.removeprefix('sha256:')}.json"


def _about(grant: Grant) -> dict[str, Any]:
    """Return what a line says of a grant: no root, which would tell of a small dataset."""
    return {
        "artefact": grant.artefact,
        "grant": grant.digest,
        "owner": grant.owner,
        "purpose": grant.purpose.value,
    }


def _enclave(enclave: AttestedEnclave) -> dict[str, Any]:
    return {
        "evidence": [
            {"kind": one.kind, "measurement": one.measurement} for one in enclave.evidence
        ],
        "receipts": enclave.keyset.receipts,
        "statement": enclave.statement_digest,
    }


def _refusal(
    asked: Asked, statement: bytes, error: PrivityError, state: GrantState | None = None
) -> dict[str, Any]:
    named = {} if state is None else {"grant": state.signed.digest}
    return named | {
        "artefact": asked.artefact,
        "check": error.check if isinstance(error, EvidenceError) else type(error).__name__,
        "detail": error.message[:500],
        "purpose": asked.purpose.value,
        "statement": digest(statement),
    }

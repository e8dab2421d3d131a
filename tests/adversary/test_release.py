"""Attacks on the release of a key: each ends without it, for the reason it should."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pki.certificates import NOON
from pki.intel import IntelPki, TdxQuoter
from privity.attest import build_statement
from privity.attest.grant import Price, Purpose, SignedGrant
from privity.attest.manifest import ReferenceValue
from privity.attest.release import (
    AuthorizedRelease,
    BootKeys,
    Role,
    Standing,
    authorize,
    open_deposit,
    seal_deposit,
    seal_key,
    trust_for,
    verify_boot,
)
from privity.attest.roots import Roots
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError, InputError, MalformedError, OpenError
from privity.identity.keys import SigningKey
from privity.seal.key_config import GatewayKeys
from privity.statement import Keyset, Software
from releases import ARTEFACT, KEY, NONCE, OTHER_MEASUREMENT, PROGRAM, Boot, Owner

FRESH = Standing()
SYSTEM = ("mrtd", "rtmr0", "rtmr1", "rtmr2")


@pytest.fixture
def owner() -> Owner:
    return Owner()


def attested(owner: Owner, boot: Boot, signed: SignedGrant, nonce: bytes = NONCE) -> Any:
    data = boot.statement(nonce).to_bytes()
    return verify_boot(data, nonce=nonce, signed=signed, trust=owner.trust, now=owner.clock())


def allowed(
    owner: Owner, boot: Boot, signed: SignedGrant, standing: Standing = FRESH, **more: Any
) -> AuthorizedRelease:
    given: dict[str, Any] = {
        "artefact": ARTEFACT,
        "purpose": signed.grant.purpose,
        "nonce": NONCE,
        "now": owner.clock(),
        "standing": standing,
    }
    return authorize(signed, attested(owner, boot, signed), **{**given, **more})


def refused(check: str) -> Any:
    return pytest.raises(EvidenceError, check=lambda error: error.check == check)


def test_an_honest_exchange_opens(owner: Owner) -> None:
    boot, signed = Boot(owner), owner.signed()
    release = allowed(owner, boot, signed)
    statement = release.enclave.statement_digest
    sealed = seal_key(release, KEY)
    assert boot.keys.open_key(sealed, nonce=NONCE, statement=statement, signed=signed) == KEY
    assert KEY not in sealed


def test_only_authorize_makes_a_release(owner: Owner) -> None:
    release = allowed(owner, Boot(owner), owner.signed())
    with pytest.raises(InputError, match="AuthorizedRelease comes from"):
        AuthorizedRelease(release.signed, release.enclave, NONCE, False, "", mint=object())
    source = Path(__file__).parents[2] / "src" / "privity"
    token = "_MINT"
    naming = [
        path.name
        for path in source.rglob("*.py")
        if f"release import {token}" in path.read_text() or f"release.{token}" in path.read_text()
    ]
    assert naming == []


def test_a_statement_for_another_challenge_is_refused(owner: Owner) -> None:
    boot, signed = Boot(owner), owner.signed()
    data = boot.statement(bytes(32)).to_bytes()
    with refused("nonce"):
        verify_boot(data, nonce=NONCE, signed=signed, trust=owner.trust, now=owner.clock())
    enclave = attested(owner, boot, signed, nonce=bytes(32))
    with refused("nonce"):
        authorize(
            signed,
            enclave,
            artefact=ARTEFACT,
            purpose=Purpose.SERVE,
            nonce=NONCE,
            now=owner.clock(),
            standing=FRESH,
        )


def test_a_beacon_answers_no_challenge(owner: Owner) -> None:
    boot, signed = Boot(owner), owner.signed()
    beacon = build_statement(boot.keys.keyset, [owner.quoter()], now=owner.clock())
    with refused("nonce"):
        verify_boot(
            beacon.to_bytes(), nonce=NONCE, signed=signed, trust=owner.trust, now=owner.clock()
        )


def test_evidence_for_other_keys_is_refused(owner: Owner) -> None:
    """The host puts its own key into an honest enclave's statement."""
    boot, host = Boot(owner), Boot(owner)
    spliced = replace(boot.statement(), keyset=host.keys.keyset).to_bytes()
    with refused("key binding"):
        verify_boot(
            spliced, nonce=NONCE, signed=owner.signed(), trust=owner.trust, now=owner.clock()
        )


def test_a_relayed_statement_gets_a_key_its_carrier_cannot_open(owner: Owner) -> None:
    """The host carries another enclave's statement: the key stays sealed to the attested one."""
    boot, host, signed = Boot(owner), Boot(owner), owner.signed()
    release = allowed(owner, boot, signed)
    statement = release.enclave.statement_digest
    with pytest.raises(OpenError):
        host.keys.open_key(seal_key(release, KEY), nonce=NONCE, statement=statement, signed=signed)


def test_a_sealed_key_opens_in_no_other_exchange(owner: Owner) -> None:
    boot, signed = Boot(owner), owner.signed()
    release = allowed(owner, boot, signed)
    sealed, statement = seal_key(release, KEY), release.enclave.statement_digest
    other = owner.signed(name="other")
    for change in (
        {"nonce": bytes(32)},
        {"statement": "sha256:" + "0" * 64},
        {"signed": other},
    ):
        given: dict[str, Any] = {"nonce": NONCE, "statement": statement, "signed": signed}
        with pytest.raises(OpenError):
            boot.keys.open_key(sealed, **{**given, **change})


def test_a_sealed_key_with_a_flipped_bit_does_not_open(owner: Owner) -> None:
    boot, signed = Boot(owner), owner.signed()
    release = allowed(owner, boot, signed)
    sealed, statement = seal_key(release, KEY), release.enclave.statement_digest
    places = [*range(0, len(sealed), 61), len(sealed) - 1]
    for place in places:
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(OpenError):
            boot.keys.open_key(bytes(altered), nonce=NONCE, statement=statement, signed=signed)
    for cut in (sealed[:-1], sealed + b"\0", b""):
        with pytest.raises(OpenError):
            boot.keys.open_key(cut, nonce=NONCE, statement=statement, signed=signed)


def test_dev_evidence_is_refused_unless_named(owner: Owner) -> None:
    with refused("dev evidence"):
        allowed(owner, Boot(owner), owner.signed(unsafe_dev=False))


def test_an_unlisted_measurement_is_refused(owner: Owner) -> None:
    with refused("measurement"):
        allowed(owner, Boot(owner, OTHER_MEASUREMENT), owner.signed())


def test_a_measurement_of_another_kind_does_not_count(owner: Owner) -> None:
    listed = (ReferenceValue("snp", {"measurement": "00" * 48}),)
    with refused("measurement"):
        allowed(owner, Boot(owner, OTHER_MEASUREMENT), owner.signed(measurements=listed))


def test_a_register_the_evidence_lacks_does_not_count(owner: Owner) -> None:
    listed = (ReferenceValue("dev", {"measurement": Boot(owner).measurement, "mrtd": "00"}),)
    with refused("measurement"):
        allowed(owner, Boot(owner), owner.signed(measurements=listed))


def test_an_app_that_a_grant_is_silent_about_is_refused(owner: Owner) -> None:
    """dstack measures the app into RTMR3: the system's registers alone would allow any app."""
    intel = IntelPki()  # synthetic, as is the TD
    owner.clock.now, owner.roots = NOON, Roots(intel=intel.root_der)
    bare = Boot(owner, quoter=TdxQuoter(intel))
    app = Boot(owner, quoter=TdxQuoter(intel, app_compose='{"name":"an app"}'))

    def naming(*registers: str) -> SignedGrant:
        entry = ReferenceValue("tdx", {name: shown[name] for name in (*SYSTEM, *registers)})
        return owner.signed(measurements=(entry,), unsafe_dev=False)

    listed = (ReferenceValue("tdx", dict.fromkeys(SYSTEM, "00" * 48)),)
    probe = owner.signed(measurements=listed, unsafe_dev=False)
    (evidence,) = attested(owner, app, probe).evidence
    shown = evidence.registers
    allowed(owner, bare, naming())
    with refused("measurement"):
        allowed(owner, app, naming())
    for name in ("compose_hash", "rtmr3"):
        allowed(owner, app, naming(name))
        with refused("measurement"):
            allowed(owner, bare, naming(name))


def test_code_no_signer_approves_is_refused(owner: Owner) -> None:
    signer = SigningKey.generate().did
    signed = owner.signed(signers=(signer,))
    assert trust_for(signed.grant, owner.trust).policy.reference
    with refused("reference value"):
        allowed(owner, Boot(owner), signed)


def test_the_owners_own_signers_do_not_widen_a_grant(owner: Owner) -> None:
    trust = replace(owner.trust, signers=(SigningKey.generate().did,))
    assert trust_for(owner.grant(), trust).signers == ()


def test_an_expired_grant_is_refused(owner: Owner) -> None:
    signed = owner.signed()
    owner.clock.forward(86_400)
    with refused("grant period"):
        allowed(owner, Boot(owner), signed)


def test_a_grant_of_the_future_is_refused(owner: Owner) -> None:
    later = owner.clock() + timedelta(hours=1)
    with refused("grant period"):
        allowed(owner, Boot(owner), owner.signed(issued=later))


def test_a_grant_used_up_is_refused_and_a_renewal_is_no_use(owner: Owner) -> None:
    signed = owner.signed(uses=2)
    with refused("grant uses"):
        allowed(owner, Boot(owner), signed, Standing(uses=2))
    assert allowed(owner, Boot(owner), signed, Standing(uses=2, renewing=True)).renewal


def test_a_revoked_grant_is_refused_to_renewals_too(owner: Owner) -> None:
    with refused("grant revoked"):
        allowed(owner, Boot(owner), owner.signed(), Standing(revoked="sold", renewing=True))


def test_another_purpose_is_refused(owner: Owner) -> None:
    with refused("purpose"):
        allowed(owner, Boot(owner), owner.signed(), purpose=Purpose.TRAIN)


def test_another_artefact_is_refused(owner: Owner) -> None:
    with refused("artefact"):
        allowed(owner, Boot(owner), owner.signed(), artefact="f" * 32)


@pytest.mark.parametrize(
    "software",
    [
        (),
        (Software("program", "sha256:" + "8" * 64),),
        (Software("program", PROGRAM), Software("program", "sha256:" + "8" * 64)),
    ],
    ids=["none", "another", "two"],
)
def test_a_training_program_not_listed_is_refused(
    owner: Owner, software: tuple[Software, ...]
) -> None:
    with refused("program"):
        allowed(owner, Boot(owner, software=software), owner.training())


def test_a_listed_training_program_is_taken(owner: Owner) -> None:
    boot = Boot(owner, software=(Software("program", PROGRAM),))
    assert allowed(owner, boot, owner.training()).signed.grant.programs == (PROGRAM,)


def test_a_program_is_refused_where_none_was_granted(owner: Owner) -> None:
    with refused("program"):
        allowed(owner, Boot(owner, software=(Software("program", PROGRAM),)), owner.signed())


def test_a_price_nobody_can_take_is_refused(owner: Owner) -> None:
    with refused("payment"):
        allowed(owner, Boot(owner), owner.signed(price=Price(250, "EUR-cent")))


def test_the_price_is_taken_last_and_once(owner: Owner) -> None:
    class Till:
        taken = 0

        def settle(self, grant: Any, enclave: AttestedEnclave) -> str:
            self.taken += 1
            return f"paid {grant.price.amount}"

    till, signed = Till(), owner.signed(price=Price(250, "EUR-cent"), uses=1)
    with refused("measurement"):
        allowed(owner, Boot(owner, OTHER_MEASUREMENT), signed, payment=till)
    assert till.taken == 0
    assert allowed(owner, Boot(owner), signed, payment=till).receipt == "paid 250"
    allowed(owner, Boot(owner), signed, Standing(uses=1, renewing=True), payment=till)
    assert till.taken == 1


def _with_keyset(owner: Owner, keyset: Keyset, signed: SignedGrant) -> AuthorizedRelease:
    data = build_statement(keyset, [owner.quoter()], now=owner.clock(), nonce=NONCE).to_bytes()
    enclave = verify_boot(data, nonce=NONCE, signed=signed, trust=owner.trust, now=owner.clock())
    return authorize(
        signed,
        enclave,
        artefact=ARTEFACT,
        purpose=Purpose.SERVE,
        nonce=NONCE,
        now=owner.clock(),
        standing=FRESH,
    )


def test_the_statement_of_a_serving_enclave_gets_no_key(owner: Owner) -> None:
    """Its keys are for prompts: a host could fetch it with any nonce it likes."""
    keyset = Keyset(
        GatewayKeys.generate().configs_bytes,
        SigningKey.generate().did,
        software=(Software("privity", "1"), Software("role", Role.BOOT)),
    )
    with refused("boot keyset"):
        _with_keyset(owner, keyset, owner.signed())


def test_the_statement_of_a_broker_gets_no_key(owner: Owner) -> None:
    keys = BootKeys(SigningKey.generate().did, role=Role.BROKER)
    with refused("boot keyset"):
        _with_keyset(owner, keys.keyset, owner.signed())


def test_two_roles_are_none(owner: Owner) -> None:
    keys = BootKeys(SigningKey.generate().did, software=(Software("role", Role.BROKER),))
    with refused("boot keyset"):
        _with_keyset(owner, keys.keyset, owner.signed())


def test_a_deposit_goes_to_a_broker_alone_and_with_its_grant(owner: Owner) -> None:
    broker, boot = BootKeys(SigningKey.generate().did, role=Role.BROKER), Boot(owner)
    signed, other = owner.signed(), owner.signed(name="other")

    def enclave(keyset: Keyset) -> AttestedEnclave:
        data = build_statement(keyset, [owner.quoter()], now=owner.clock(), nonce=NONCE).to_bytes()
        return verify_boot(data, nonce=NONCE, signed=signed, trust=owner.trust, now=owner.clock())

    with refused("boot keyset"):
        seal_deposit(enclave(boot.keys.keyset), signed, KEY)
    sealed = seal_deposit(enclave(broker.keyset), signed, KEY)
    assert open_deposit(broker, sealed, signed) == KEY
    with pytest.raises(OpenError):
        open_deposit(broker, sealed, other)
    # Nor does what was deposited pass for what was released.
    statement = boot.statement().digest
    with pytest.raises(OpenError):
        broker.open_key(sealed, nonce=NONCE, statement=statement, signed=signed)


def test_a_key_of_another_length_is_not_sealed(owner: Owner) -> None:
    with pytest.raises(MalformedError):
        seal_key(allowed(owner, Boot(owner), owner.signed()), KEY[:16])


def test_boot_keys_show_and_give_nothing(owner: Owner) -> None:
    import pickle

    boot = Boot(owner)
    assert boot.keys.keyset.digest in repr(boot.keys)
    with pytest.raises(TypeError):
        pickle.dumps(boot.keys)

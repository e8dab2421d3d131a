"""Attacks on a broker: replays, foreign grants, other keys, and what refusals and files tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.attest.grant import Purpose, SignedGrant
from privity.attest.grant_revocation import GrantRevocation
from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.release import CHALLENGE_S, seal_deposit, verify_boot
from privity.attest.signed_manifest import SignedManifest
from privity.errors import EvidenceError, InputError, OpenError, PeerError, PrivityError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.node.broker import Broker
from privity.node.broker_log import read_log
from privity.node.deposit import Deposit
from privity.node.key_client import RELEASE_PROBLEM
from privity.statement import PATH, Software
from releases import (
    ARTEFACT,
    KEY,
    MEASUREMENT,
    NONCE,
    OTHER_MEASUREMENT,
    PROGRAM,
    URL,
    Boot,
    Owner,
    app_of,
    client_of,
    events,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def broker(owner: Owner, tmp_path: Path) -> Broker:
    return owner.broker(tmp_path / "broker")


@pytest.fixture
async def http(owner: Owner, broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    app = app_of(owner, broker)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        yield client


def refused(check: str) -> Any:
    return pytest.raises(EvidenceError, check=lambda error: error.check == check)


async def challenge(http: httpx.AsyncClient) -> bytes:
    asked = {"artefact": ARTEFACT, "purpose": "serve"}
    return decode_base64url((await http.post("/challenge", json=asked)).json()["challenge"])


async def release(http: httpx.AsyncClient, nonce: bytes, boot: Boot, made_for: bytes = b"") -> Any:
    statement = boot.statement(made_for or nonce).to_json()
    sent = {"challenge": encode_base64url(nonce), "statement": statement}
    return await http.post("/release", content=canonical(sent))


async def test_a_replayed_challenge_is_refused_and_noted_once(
    owner: Owner, broker: Broker, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    broker.add(owner.signed(), KEY)
    nonce, boot = await challenge(http), Boot(owner)
    assert (await release(http, nonce, boot)).status_code == 200
    for _ in range(3):
        again = await release(http, nonce, boot)
        assert (again.status_code, again.json()["check"]) == (403, "challenge")
    expected = [("added", None), ("granted", None), ("refused", "challenge")]
    assert events(tmp_path / "broker") == expected


async def test_a_challenge_is_spent_by_a_wrong_answer(
    owner: Owner, broker: Broker, http: httpx.AsyncClient
) -> None:
    broker.add(owner.signed(), KEY)
    nonce, boot = await challenge(http), Boot(owner)
    assert (await release(http, nonce, boot, bytes(32))).json()["check"] == "nonce"
    assert (await release(http, nonce, boot)).json()["check"] == "challenge"


async def test_a_challenge_of_ones_own_making_is_refused(
    owner: Owner, broker: Broker, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    broker.add(owner.signed(), KEY)
    assert (await release(http, NONCE, Boot(owner))).json()["check"] == "challenge"
    assert events(tmp_path / "broker") == [("added", None)]


async def test_a_challenge_runs_out(owner: Owner, broker: Broker, http: httpx.AsyncClient) -> None:
    broker.add(owner.signed(), KEY)
    nonce = await challenge(http)
    owner.clock.forward(CHALLENGE_S)
    assert (await release(http, nonce, Boot(owner))).json()["check"] == "challenge"


async def test_challenges_are_bounded(http: httpx.AsyncClient, owner: Owner) -> None:
    asked = {"artefact": ARTEFACT, "purpose": "serve"}
    statuses = [(await http.post("/challenge", json=asked)).status_code for _ in range(1025)]
    assert statuses == [200] * 1024 + [503]
    owner.clock.forward(CHALLENGE_S)
    assert (await http.post("/challenge", json=asked)).status_code == 200


async def test_a_challenge_tells_nothing_of_what_is_kept(
    http: httpx.AsyncClient, owner: Owner, broker: Broker
) -> None:
    """Nor does a statement that does not verify: the same answer, granted or not."""
    stranger = Boot(Owner(clock=owner.clock))
    before = await release(http, await challenge(http), stranger)
    broker.add(owner.signed(), KEY)
    after = await release(http, await challenge(http), stranger)
    assert before.status_code == after.status_code == 403
    assert "endorsement" in after.json()["check"]


async def test_another_enclave_cannot_open_what_it_carries(
    owner: Owner, broker: Broker, http: httpx.AsyncClient
) -> None:
    broker.add(owner.signed(), KEY)
    nonce, boot, host = await challenge(http), Boot(owner), Boot(owner)
    body = (await release(http, nonce, boot)).json()
    sealed, signed = decode_base64url(body["sealed"]), SignedGrant.from_json(body["grant"])
    statement = boot.statement(nonce).digest
    with pytest.raises(OpenError):
        host.keys.open_key(sealed, nonce=nonce, statement=statement, signed=signed)
    assert KEY not in canonical(body)


async def test_a_renewal_is_of_the_process_that_holds_the_lease(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    broker.add(owner.signed(uses=1, lease_s=60), KEY)
    first = Boot(owner)
    first.ask(broker)
    Boot(owner, receipts=first.receipts).ask(broker, bytes(32))
    with refused("grant uses"):  # started anew: it has other keys
        Boot(owner).ask(broker)
    owner.clock.forward(60)
    with refused("grant uses"):  # its lease has ended
        Boot(owner, receipts=first.receipts).ask(broker)
    kinds = [event for event, _ in events(tmp_path / "broker")]
    assert kinds == ["added", "granted", "renewed", "refused", "refused"]


async def test_uses_survive_a_restart(owner: Owner, tmp_path: Path) -> None:
    owner.broker(tmp_path / "broker").add(owner.signed(uses=2), KEY)
    for _ in range(2):
        Boot(owner).ask(owner.broker(tmp_path / "broker"))
    with refused("grant uses"):
        Boot(owner).ask(owner.broker(tmp_path / "broker"))


async def test_two_brokers_on_one_folder_count_together(owner: Owner, tmp_path: Path) -> None:
    one, other = owner.broker(tmp_path / "broker"), owner.broker(tmp_path / "broker")
    one.add(owner.signed(uses=1), KEY)
    Boot(owner).ask(other)
    with refused("grant uses"):
        Boot(owner).ask(one)


async def test_a_revoked_grant_releases_nothing_and_renews_nothing(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    signed, boot = owner.signed(), Boot(owner)
    broker.add(signed, KEY)
    boot.ask(broker)
    broker.revoke(
        GrantRevocation(signed.digest, owner.key.did, "sold", owner.clock()).sign(owner.key)
    )
    with refused("grant revoked"):
        Boot(owner, receipts=boot.receipts).ask(broker)
    # Bringing the grant again, as somebody could who recorded it, changes nothing.
    broker.add(signed, KEY)
    with refused("grant revoked"):
        Boot(owner).ask(owner.broker(tmp_path / "broker"))
    line = read_log(tmp_path / "broker")[-1]
    assert line.about["check"] == "grant revoked" and "sold" in line.about["detail"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_grant_revoked_before_it_came_is_refused_when_it_comes(
    owner: Owner, broker: Broker, tmp_path: Path, restarted: bool
) -> None:
    """Whoever carries the deposit holds it back until after the revocation."""
    signed = owner.signed()
    taken = GrantRevocation(signed.digest, owner.key.did, "mistake", owner.clock()).sign(owner.key)
    line = broker.revoke(taken)
    assert line is not None
    assert line.about["revocation"] == taken.to_json()
    assert broker.revoke(taken) is None
    if restarted:
        broker = owner.broker(tmp_path / "broker")
    with pytest.raises(EvidenceError, match="mistake") as caught:
        broker.add(signed, KEY)
    assert caught.value.check == "grant revoked"
    with refused("grant"):
        Boot(owner).ask(broker)
    assert not list((tmp_path / "broker" / "keys").iterdir())
    broker.add(owner.signed(name="another"), KEY)  # no other grant is revoked by it
    Boot(owner).ask(broker)


async def test_nobody_revokes_anothers_grant_before_it_came(owner: Owner, tmp_path: Path) -> None:
    other, stranger = (Owner(root=owner.root, clock=owner.clock) for _ in range(2))
    broker = owner.broker(tmp_path / "broker", owners=(owner.key.did, other.key.did))
    signed = owner.signed()

    def by(one: Owner) -> Any:
        return GrantRevocation(signed.digest, one.key.did, "spite", owner.clock()).sign(one.key)

    broker.revoke(by(other))  # who gave a grant shows only when it comes
    with refused("grant"):
        broker.revoke(by(stranger))
    broker.add(signed, KEY)
    Boot(owner).ask(owner.broker(tmp_path / "broker", owners=(owner.key.did, other.key.did)))
    assert events(tmp_path / "broker") == [("revoked", None), ("added", None), ("granted", None)]


async def test_an_expired_grant_is_noted_once_and_refused(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    broker.add(owner.signed(), KEY)
    owner.clock.forward(86_400)
    broker.note_expired()
    broker.note_expired()
    with refused("grant period"):
        Boot(owner).ask(broker)
    kinds = [event for event, _ in events(tmp_path / "broker")]
    assert kinds == ["added", "expired", "refused"]


async def test_another_owners_grant_is_refused(owner: Owner, broker: Broker) -> None:
    stranger = Owner(clock=owner.clock)
    with refused("owner"):
        broker.add(stranger.signed(), KEY)


async def test_only_the_owner_revokes(owner: Owner, tmp_path: Path) -> None:
    other = Owner(root=owner.root, clock=owner.clock)
    broker = owner.broker(tmp_path / "broker", owners=(owner.key.did, other.key.did))
    signed = owner.signed()
    broker.add(signed, KEY)
    revocation = GrantRevocation(signed.digest, other.key.did, "spite", owner.clock())
    with refused("owner"):
        broker.revoke(revocation.sign(other.key))
    Boot(owner).ask(broker)


@pytest.mark.parametrize("over", ["running", "revoked", "restarted"])
async def test_an_artefact_stays_its_first_owners(owner: Owner, tmp_path: Path, over: str) -> None:
    """Ids are public: a newer grant of another's would answer renewals, and end them."""
    other = Owner(root=owner.root, clock=owner.clock)
    owners = (owner.key.did, other.key.did)
    broker = owner.broker(tmp_path / "broker", owners=owners)
    signed, boot = owner.signed(), Boot(owner)
    broker.add(signed, KEY)
    boot.ask(broker)
    owner.clock.forward(1)
    if over == "revoked":
        taken = GrantRevocation(signed.digest, owner.key.did, "sold", owner.clock())
        broker.revoke(taken.sign(owner.key))
    elif over == "restarted":
        broker = owner.broker(tmp_path / "broker", owners=owners)
    for change in ({}, {"root": "tree-sha256:" + "b" * 64}, {"purpose": Purpose.TRAIN}):
        terms = {"programs": (PROGRAM,), "recipient": "age1pq1x"} if "purpose" in change else {}
        with refused("artefact owner"):
            broker.add(other.signed(**change, **terms), bytes(32))
    if over == "revoked":
        return
    body = Boot(owner, receipts=boot.receipts).ask(broker, bytes(32))
    assert SignedGrant.from_json(body["grant"]).digest == signed.digest


async def test_a_log_that_lets_two_own_an_artefact_is_the_first_ones(
    owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was written before a broker held owners apart."""
    other = Owner(root=owner.root, clock=owner.clock)
    broker = owner.broker(tmp_path / "broker", owners=(owner.key.did, other.key.did))
    broker.add(owner.signed(), KEY)
    owner.clock.forward(1)
    with monkeypatch.context() as patch:
        patch.setattr(Broker, "_owner_of", lambda *_: None)
        broker.add(other.signed(), bytes(32))
    boot = Boot(owner)
    body = boot.ask(broker)
    signed = SignedGrant.from_json(body["grant"])
    statement = read_log(tmp_path / "broker")[-1].about["enclave"]["statement"]
    opened = boot.keys.open_key(
        decode_base64url(body["sealed"]), nonce=NONCE, statement=statement, signed=signed
    )
    assert (opened, signed.grant.owner) == (KEY, owner.key.did)


async def test_another_root_under_the_same_id_is_refused(owner: Owner, broker: Broker) -> None:
    broker.add(owner.signed(), KEY)
    with refused("root"):
        broker.add(owner.signed(root="tree-sha256:" + "b" * 64), KEY)


async def test_the_purpose_asked_is_the_one_that_counts(owner: Owner, broker: Broker) -> None:
    broker.add(owner.signed(), KEY)
    with refused("purpose"):
        Boot(owner, software=(Software("program", PROGRAM),)).ask(broker, purpose=Purpose.TRAIN)


async def test_no_grant_no_key(owner: Owner, broker: Broker, tmp_path: Path) -> None:
    with refused("grant"):
        Boot(owner).ask(broker)
    assert events(tmp_path / "broker") == [("refused", "grant")]


async def test_an_unlisted_measurement_is_in_the_log(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    broker.add(owner.signed(), KEY)
    with refused("measurement"):
        Boot(owner, OTHER_MEASUREMENT).ask(broker)
    assert events(tmp_path / "broker")[-1] == ("refused", "measurement")


async def test_nothing_is_released_that_cannot_be_logged(
    owner: Owner, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.add(owner.signed(uses=1), KEY)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("privity.node.broker_log._write", full)
        with pytest.raises(InputError, match="No space left"):
            Boot(owner).ask(broker)
    Boot(owner).ask(broker)  # it was not counted, for it was not given


async def test_no_file_line_answer_or_error_holds_the_key(
    owner: Owner, broker: Broker, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    broker.add(owner.signed(), KEY)
    said = [(await release(http, await challenge(http), Boot(owner))).content]
    said.append((await release(http, NONCE, Boot(owner))).content)
    said.append(repr(broker.grants()).encode())
    for path in (tmp_path / "broker").rglob("*"):
        if path.is_file():
            said.append(path.read_bytes())
            assert path.stat().st_mode & 0o077 == 0
    forms = (KEY, KEY.hex().encode(), encode_base64url(KEY).encode())
    assert not any(form in text for form in forms for text in said)


async def test_a_key_moved_to_another_artefacts_place_is_not_opened(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    other = "f" * 32
    broker.add(owner.signed(), KEY)
    broker.add(owner.signed(artefact=other), bytes(32))
    keys = sorted((tmp_path / "broker" / "keys").iterdir())
    keys[0].write_bytes(keys[1].read_bytes())
    with pytest.raises(OpenError):
        Boot(owner).ask(broker)


async def test_a_refusal_names_its_check_and_has_the_type_that_clients_know(
    owner: Owner, http: httpx.AsyncClient
) -> None:
    answer = await release(http, await challenge(http), Boot(owner))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == RELEASE_PROBLEM
    assert answer.json()["check"] == "grant"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"challenge":"x","statement":{}}', b"\xff" * 10]
)
@pytest.mark.parametrize("path", ["/challenge", "/release", "/grant", "/revoke"])
async def test_junk_is_refused(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await http.post(path, content=body)
    assert (answer.status_code, answer.json()["check"]) == (400, "format")


async def test_a_body_too_large_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/release", content=b" " * 300_000)).status_code == 413


# What an owner sends to a broker elsewhere


async def deposit(http: httpx.AsyncClient, owner: Owner, signed: SignedGrant) -> Deposit:
    answer = await http.get(PATH, params={"nonce": encode_base64url(NONCE)})
    attested = verify_boot(
        answer.content, nonce=NONCE, signed=signed, trust=owner.trust, now=owner.clock()
    )
    return Deposit.make(signed, seal_deposit(attested, signed, KEY), owner.key)


async def test_a_grant_deposited_is_acted_on(
    owner: Owner, broker: Broker, http: httpx.AsyncClient
) -> None:
    made = await deposit(http, owner, owner.signed())
    first = await http.post("/grant", json=made.to_json())
    again = await http.post("/grant", json=made.to_json())
    assert (first.status_code, again.json()["log"]) == (200, None)
    client = client_of(owner, app_of(owner, broker))
    assert (await client.obtain(ARTEFACT, Purpose.SERVE)).key == KEY
    await client.aclose()


async def test_a_deposit_with_another_key_put_in_is_refused(
    owner: Owner, http: httpx.AsyncClient
) -> None:
    made = await deposit(http, owner, owner.signed())
    other = await deposit(http, owner, owner.signed())
    document = made.to_json() | {"sealed": encode_base64url(other.sealed)}
    answer = await http.post("/grant", json=document)
    assert (answer.status_code, answer.json()["check"]) == (403, "deposit signature")


async def test_a_deposit_for_another_broker_is_refused(
    owner: Owner, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    elsewhere = app_of(owner, owner.broker(tmp_path / "elsewhere"))
    transport = httpx.ASGITransport(elsewhere)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as other:
        made = await deposit(other, owner, owner.signed())
    answer = await http.post("/grant", json=made.to_json())
    assert (answer.status_code, answer.json()["check"]) == (403, "deposit key")


# Approvals


async def test_code_is_approved_by_the_manifest_its_statement_carries(
    owner: Owner, broker: Broker
) -> None:
    signer, other = SigningKey.generate(), SigningKey.generate()
    manifest = Manifest(
        name="privity",
        builder="us",
        source=Source("https://example.org/privity", "abc"),
        measurements=(ReferenceValue("dev", {"measurement": MEASUREMENT}),),
        issued=owner.clock(),
        expires=owner.clock() + timedelta(days=1),
    )
    broker.add(owner.signed(measurements=(), signers=(signer.did,)), KEY)

    async def ask(*keys: SigningKey) -> bytes:
        beside = [
            {"kind": "reference", "manifest": SignedManifest.sign(manifest, key).to_json()}
            for key in keys
        ]
        client = client_of(owner, app_of(owner, broker), beside=beside)
        try:
            return (await client.obtain(ARTEFACT, Purpose.SERVE)).key
        finally:
            await client.aclose()

    with refused("reference value"):
        await ask()
    with pytest.raises(EvidenceError):
        await ask(other)  # somebody signed it, but nobody the grant names
    assert await ask(signer) == KEY


# What a broker may do to an enclave


async def test_a_broker_that_lies_about_the_release_is_not_believed(
    owner: Owner, broker: Broker
) -> None:
    broker.add(owner.signed(lease_s=60), KEY)
    app = app_of(owner, broker)

    def lying(change: dict[str, Any]) -> httpx.MockTransport:
        async def answer(request: httpx.Request) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
                reply = await client.post(request.url, content=request.content)
            body = reply.json()
            return httpx.Response(200, json=body | change if "sealed" in body else body)

        return httpx.MockTransport(answer)

    other = owner.signed(lease_s=60, name="other").to_json()
    stranger = Owner(clock=owner.clock).signed(lease_s=60).to_json()
    forged = owner.signed(lease_s=60).to_json() | {"signature": encode_base64url(bytes(64))}
    changes: list[dict[str, Any]] = [
        {"lease_s": 86_400},
        {"root": "tree-sha256:" + "b" * 64},
        {"grant": other},
        {"grant": stranger},
        {"grant": forged},
        {"sealed": encode_base64url(bytes(1168))},
        {"more": 1},
    ]
    for change in changes:
        client = client_of(owner, app, transport=lying(change))
        with pytest.raises((PeerError, OpenError)):
            await client.obtain(ARTEFACT, Purpose.SERVE)
        await client.aclose()


async def test_an_answer_of_something_else_is_no_refusal(owner: Owner) -> None:
    """Only a broker's own problem ends a lease before its time."""
    for status, body in ((403, b"Forbidden"), (200, b"hello"), (503, b"{}"), (302, b"")):
        transport = httpx.MockTransport(lambda _, s=status, b=body: httpx.Response(s, content=b))
        client = client_of(owner, None, transport=transport)  # type: ignore[arg-type]
        with pytest.raises(PeerError):
            await client.obtain(ARTEFACT, Purpose.SERVE)
        await client.aclose()


async def test_a_folder_whose_log_was_altered_is_not_served_from(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    broker.add(owner.signed(uses=1), KEY)
    Boot(owner).ask(broker)
    path = tmp_path / "broker" / "decisions.log"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(PrivityError):
        owner.broker(tmp_path / "broker")
    with pytest.raises(PrivityError):
        Boot(owner).ask(broker)

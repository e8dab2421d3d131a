"""What a broker says when it refuses and several grants were there: of which one, and why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from privity.attest.grant import Price, SignedGrant
from privity.attest.grant_revocation import GrantRevocation
from privity.attest.manifest import ReferenceValue
from privity.errors import EvidenceError
from privity.node.broker import Broker
from privity.node.broker_log import read_log
from releases import KEY, OTHER_MEASUREMENT, Boot, Owner


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def broker(owner: Owner, tmp_path: Path) -> Broker:
    return owner.broker(tmp_path)


def refusal(owner: Owner, broker: Broker, folder: Path) -> tuple[str, str | None]:
    """Return the check an enclave is told, and the grant that the log's line names."""
    with pytest.raises(EvidenceError) as caught:
        Boot(owner).ask(broker)
    line = read_log(folder)[-1]
    assert (line.event, line.about["check"]) == ("refused", caught.value.check)
    return caught.value.check, line.about.get("grant")


def revoked(owner: Owner, broker: Broker, **terms: Any) -> SignedGrant:
    signed = owner.signed(**terms)
    broker.add(signed, KEY)
    revocation = GrantRevocation(signed.digest, owner.key.did, "sold", owner.clock())
    broker.revoke(revocation.sign(owner.key))
    return signed


def test_a_live_grants_reason_comes_before_a_newer_revoked_ones(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    live = owner.signed(price=Price(250, "EUR-cent"))
    broker.add(live, KEY)
    owner.clock.forward(60)
    newer = revoked(owner, broker)
    assert refusal(owner, broker, tmp_path) == ("payment", live.digest)
    assert newer.grant.issued > live.grant.issued


def test_a_live_grants_reason_comes_before_one_used_up_or_expired(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    other_code = (ReferenceValue("dev", {"measurement": OTHER_MEASUREMENT}),)
    live = owner.signed(measurements=other_code)
    broker.add(live, KEY)
    owner.clock.forward(60)
    broker.add(owner.signed(expires=owner.clock() + timedelta(seconds=5)), KEY)
    owner.clock.forward(1)
    broker.add(owner.signed(uses=1), KEY)
    Boot(owner).ask(broker)
    owner.clock.forward(60)
    assert refusal(owner, broker, tmp_path) == ("measurement", live.digest)


def test_without_a_live_grant_the_newest_gives_the_reason(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    revoked(owner, broker, expires=owner.clock() + timedelta(days=2))
    owner.clock.forward(60)
    newest = revoked(owner, broker)
    assert refusal(owner, broker, tmp_path) == ("grant revoked", newest.digest)


def test_a_renewal_goes_on_under_its_own_grant_though_that_is_used_up(
    owner: Owner, broker: Broker
) -> None:
    older = owner.signed()
    broker.add(older, KEY)
    owner.clock.forward(60)
    newest = owner.signed(uses=1)
    broker.add(newest, KEY)
    boot = Boot(owner)
    for _ in range(2):
        assert SignedGrant.from_json(boot.ask(broker)["grant"]).digest == newest.digest


def test_where_there_is_no_grant_the_line_names_none(
    owner: Owner, broker: Broker, tmp_path: Path
) -> None:
    assert refusal(owner, broker, tmp_path) == ("grant", None)

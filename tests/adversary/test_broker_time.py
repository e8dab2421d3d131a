"""Attacks with a broker's clock, which its host sets: back, so that what ended begins again."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.attest.grant import Purpose
from privity.attest.grant_revocation import GrantRevocation
from privity.cli import grant_text
from privity.errors import EvidenceError
from privity.identity.timestamps import format_time, whole_second
from privity.node.broker import Broker
from privity.node.broker_log import read_log
from privity.node.owner_client import Given
from releases import ARTEFACT, KEY, Boot, Clock, Owner, RealTime, app_of, client_of, events


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def broker(owner: Owner, tmp_path: Path) -> Broker:
    return owner.broker(tmp_path)


def refused(check: str) -> Any:
    return pytest.raises(EvidenceError, check=lambda error: error.check == check)


def challenges() -> Any:
    return (bytes([number]) * 32 for number in range(256))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_set_back_revives_no_expired_grant(
    owner: Owner, broker: Broker, tmp_path: Path, restarted: bool
) -> None:
    broker.add(owner.signed(expires=owner.clock() + timedelta(seconds=60)), KEY)
    owner.clock.forward(120)
    with refused("grant period"):
        Boot(owner).ask(broker)
    assert ("expired", None) in events(tmp_path)
    owner.clock.forward(-90)
    again = owner.broker(tmp_path) if restarted else broker
    with refused("grant period"):
        Boot(owner).ask(again, bytes(32))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_set_back_renews_no_ended_lease(
    owner: Owner, broker: Broker, tmp_path: Path, restarted: bool
) -> None:
    broker.add(owner.signed(uses=1, lease_s=60), KEY)
    boot = Boot(owner)
    boot.ask(broker)
    owner.clock.forward(3600)
    with refused("grant uses"):
        Boot(owner, receipts=boot.receipts).ask(broker, bytes(32))
    owner.clock.forward(-3590)
    again = owner.broker(tmp_path) if restarted else broker
    with refused("grant uses"):
        Boot(owner, receipts=boot.receipts).ask(again, bytes([1]) * 32)


def test_the_times_of_a_log_never_go_back(owner: Owner, broker: Broker, tmp_path: Path) -> None:
    nonces = challenges()
    first, second = owner.signed(), owner.signed(name="again")
    broker.add(first, KEY)
    for step in (30, -20, -3600, 5):
        Boot(owner).ask(broker, next(nonces))
        owner.clock.forward(step)
    broker.add(second, KEY)
    broker.revoke(
        GrantRevocation(first.digest, owner.key.did, "sold", owner.clock()).sign(owner.key)
    )
    times = [line.time for line in read_log(tmp_path)]
    assert len(times) == 7 and times == sorted(times)


def test_a_clock_behind_the_log_is_told_of(
    owner: Owner, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a clock that was once far ahead leaves: every grant over, and a word on why."""
    caplog.set_level(logging.WARNING, "privity.broker")
    broker.add(owner.signed(), KEY)
    owner.clock.forward(10 * 366 * 86_400)
    broker.note_expired()
    owner.clock.forward(-10 * 366 * 86_400)
    broker.add(owner.signed(name="new"), KEY)
    with pytest.raises(EvidenceError) as caught:  # no evidence is of that time
        Boot(owner).ask(broker)
    assert "2036" in caught.value.message and "ahead of its clock" in caught.value.message
    assert "2036" in caplog.text and "ahead of its clock" in caplog.text
    assert [event for event, _ in events(tmp_path)] == [
        "added", "expired", "added", "expired", "refused",
    ]  # fmt: skip
    now = owner.clock()
    stands = [grant_text.standing(Given(one.signed, "here"), one, now) for one in broker.grants()]
    assert stands == ["expired", "expired"]
    # The way back: the owner grants again, in a folder that knows no such time.
    elsewhere = owner.broker(tmp_path / "new")
    elsewhere.add(owner.signed(name="new"), KEY)
    Boot(owner).ask(elsewhere)


def test_a_clock_a_little_behind_the_log_is_nothing_to_tell(
    owner: Owner, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.add(owner.signed(), KEY)
    owner.clock.forward(-60)
    caplog.set_level(logging.WARNING, "privity.broker")
    Boot(owner).ask(broker)
    assert not caplog.records


# A lease against the grant it is under


@pytest.mark.parametrize("lease_s", [60, 86_400])
def test_a_lease_does_not_outlast_its_grant(
    owner: Owner, broker: Broker, tmp_path: Path, lease_s: int
) -> None:
    end = owner.clock() + timedelta(seconds=60)
    broker.add(owner.signed(expires=end, lease_s=lease_s), KEY)
    owner.clock.forward(20.5)
    assert Boot(owner).ask(broker)["lease_s"] == 39
    assert read_log(tmp_path)[-1].about["lease"] == format_time(end)


def test_a_grant_that_ends_within_a_second_gives_no_lease(owner: Owner, broker: Broker) -> None:
    broker.add(owner.signed(expires=owner.clock() + timedelta(seconds=60)), KEY)
    owner.clock.forward(59)
    assert Boot(owner).ask(broker)["lease_s"] == 1
    owner.clock.forward(0.5)
    with refused("grant period"):
        Boot(owner).ask(broker, bytes(32))


@pytest.mark.anyio
async def test_an_enclave_holds_no_lease_past_the_grant_by_its_own_clock(
    owner: Owner, broker: Broker
) -> None:
    """Though the broker's clock is behind: both have to say that it still runs."""
    broker.add(owner.signed(expires=owner.clock() + timedelta(seconds=300), lease_s=300), KEY)
    ahead = Clock(owner.clock() + timedelta(seconds=240))
    client = client_of(owner, app_of(owner, broker), clock=ahead)
    released = await client.obtain(ARTEFACT, Purpose.SERVE)
    assert released.until == owner.clock.seconds() + 60
    ahead.forward(59.5)
    with refused("grant period"):
        await client.obtain(ARTEFACT, Purpose.SERVE)
    await client.aclose()


@pytest.mark.anyio
async def test_an_enclave_drops_it_with_the_grant_and_does_not_hammer_the_broker(
    tmp_path: Path,
) -> None:
    """Each renewal is for half of what is left: few, and then an end."""
    owner = Owner(clock=RealTime())
    broker = owner.broker(tmp_path / "real")
    end = whole_second(owner.clock()) + timedelta(seconds=4)
    broker.add(owner.signed(expires=end, lease_s=300), KEY)
    client = client_of(owner, app_of(owner, broker))
    released = await client.obtain(ARTEFACT, Purpose.SERVE)
    with anyio.fail_after(60), refused("grant period"):
        await client.keep(released)
    assert owner.clock() < end
    renewed = [event for event, _ in events(tmp_path / "real")].count("renewed")
    assert 1 <= renewed < 10
    await client.aclose()

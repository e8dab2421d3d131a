"""Attacks on the bus's rate limit: spam, forged accusations, altered copies, replays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from messages_network import Member, Members, one_of
from privity.anon.messages import Outcome, RateGate, Verdict, WakuMessage
from privity.anon.messages.rate_limit import Candidate, Engine, signal
from privity.anon.messages.waku import RateLimitProof
from rate_engines import ENGINES


def decide(gate: RateGate, message: WakuMessage) -> Verdict:
    """Return what a relay does with a message."""
    found = gate.screen(message)
    if isinstance(found, Candidate):
        return gate.settle(found, gate.engine.verify_batch([found.statement])[0])
    return found


def proof_of(message: WakuMessage) -> RateLimitProof:
    assert message.rate_limit_proof is not None
    return message.rate_limit_proof


@pytest.mark.parametrize("engine", ENGINES)
def test_a_spammer_is_cut_off_and_its_secret_recovered(engine: type[Engine]) -> None:
    members = Members(engine())
    honest = one_of(members, name=b"honest", limit=3)
    spammer = one_of(members, name=b"spammer", limit=2)
    gate = members.gate()
    good = [decide(gate, spammer.message(b"%d" % place)) for place in range(2)]
    assert [one.check for one in good] == ["good", "good"]
    spammer.used.clear()  # the client is its own: it uses the same message ids again
    assert decide(gate, spammer.message(b"2")) == Verdict(Outcome.IGNORE, "double-signal")
    assert [spam.secret for spam in members.found] == [spammer.secret]
    assert decide(gate, spammer.message(b"3")).check == "banned"
    members.now += members.rules.epoch_s  # nor in the next epoch, before the ledger knows
    assert decide(gate, spammer.message(b"4")).check == "banned"
    assert decide(gate, honest.message(b"5")).check == "good"
    assert len(members.found) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_spammer_of_a_large_limit_is_cut_off(engine: type[Engine]) -> None:
    """Its message ids go far beyond those whose nullifiers a gate computes ahead."""
    members = Members(engine())
    honest = one_of(members, name=b"honest", limit=60_000)
    spammer = one_of(members, name=b"spammer", limit=60_000)
    gate, epoch = members.gate(), members.rules.epoch(members.now)

    def said(member: Member, number: int, payload: bytes) -> str:
        member.used[epoch] = number
        return decide(gate, member.message(payload)).check

    assert said(spammer, 50_000, b"1") == "good"
    assert said(spammer, 50_000, b"2") == "double-signal"
    assert said(spammer, 5, b"3") == "banned"
    assert said(spammer, 50_001, b"4") == "banned"
    again = spammer.message(b"5")
    assert decide(gate, again).check == "banned"
    assert gate.screen(again) == Verdict(Outcome.IGNORE, "banned"), "not verified twice"
    assert said(honest, 50_000, b"6") == "good"
    members.now += members.rules.epoch_s
    epoch += 1
    assert said(spammer, 40_000, b"7") == "banned"
    assert said(honest, 40_000, b"8") == "good"


def test_the_secret_of_a_spammer_is_in_no_text() -> None:
    members = Members()
    member, gate = one_of(members, limit=1), members.gate()
    decide(gate, member.message(b"0"))
    member.used.clear()
    decide(gate, member.message(b"1"))
    (spam,) = members.found
    shown = repr(spam) + str(spam) + repr(member.stamp()) + repr(vars(spam)["epoch"])
    assert repr(spam.secret) not in shown and spam.secret.hex() not in shown


def test_nobody_can_be_accused_with_a_proof_that_does_not_hold() -> None:
    members = Members()
    victim, gate = one_of(members), members.gate()
    message = victim.message(b"said")
    assert decide(gate, message).check == "good"
    other = WakuMessage(b"never said", message.content_topic, timestamp=message.timestamp)
    x = members.engine.hash_to_field(other.payload + other.content_topic.encode())
    forged = replace(other, rate_limit_proof=replace(proof_of(message), share_x=x))
    assert decide(gate, forged) == Verdict(Outcome.REJECT, "proof")
    assert not members.found


def test_what_relays_could_alter_has_one_form() -> None:
    """Otherwise a relay could spend a member's slot on an altered copy."""
    members = Members()
    message = one_of(members).message(b"said")
    altered = [
        replace(message, timestamp=(message.timestamp or 0) + 1),
        replace(message, timestamp=None),
        replace(message, meta=b"x"),
        replace(message, version=0),
        replace(message, ephemeral=True),
        replace(message, ephemeral=False),
        replace(message, content_topic="/privity/1/other/sealed"),
        replace(message, payload=b"sAid"),
    ]
    gate = members.gate()
    assert {decide(gate, each) for each in altered} == {Verdict(Outcome.REJECT, "form")}
    assert decide(gate, message).check == "good"


def test_nothing_is_moved_between_payload_and_topic() -> None:
    """The signal is one after the other, so that bytes could go from the one to the other."""
    members = Members()
    message = one_of(members).message(b"said /to/all/of/us")
    whole, gate = signal(message).decode(), members.gate()
    for place in range(len(whole)):
        if place != len(message.payload):
            moved = replace(message, payload=whole[:place].encode(), content_topic=whole[place:])
            assert decide(gate, moved) == Verdict(Outcome.REJECT, "form")
    assert decide(gate, message).check == "good"


def test_a_proof_is_for_one_network_one_tree_and_one_time() -> None:
    members = Members()
    member, gate = one_of(members), members.gate()
    message = member.message(b"said")
    proof = proof_of(message)
    elsewhere = replace(message, rate_limit_proof=replace(proof, rln_identifier=b"\1" * 32))
    assert decide(gate, elsewhere) == Verdict(Outcome.REJECT, "identifier")
    assert decide(gate, replace(message, rate_limit_proof=None)).check == "missing"
    former = replace(message, rate_limit_proof=replace(proof, merkle_root=b"\2" * 32))
    assert decide(gate, former) == Verdict(Outcome.IGNORE, "root")
    huge = replace(message, rate_limit_proof=replace(proof, epoch=b"\xff" * 32))
    assert decide(gate, huge) == Verdict(Outcome.IGNORE, "epoch")
    for gap, check in ((2, "epoch"), (-2, "epoch"), (1, "good")):
        members.now += gap * members.rules.epoch_s
        assert decide(gate, message).check == check
        members.now -= gap * members.rules.epoch_s


def test_a_replayed_message_is_relayed_once() -> None:
    members = Members()
    gate, message = members.gate(), one_of(members).message(b"said")
    again = replace(message, rate_limit_proof=replace(proof_of(message), proof=b"\3" * 128))
    assert [decide(gate, each).check for each in (message, message, again)] == [
        "good",
        "duplicate",
        "duplicate",
    ]

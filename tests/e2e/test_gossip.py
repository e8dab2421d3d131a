"""Bursts over six nodes in six processes, with nodes that leave and come back."""

from __future__ import annotations

import asyncio

import pytest

from gossip_network import Network
from libp2p_mark import needs_libp2p

pytestmark = [pytest.mark.slow, needs_libp2p]


def test_every_message_of_a_burst_is_delivered_or_reported() -> None:
    outcome = asyncio.run(Network().run(bursts=4, each=250, leaves={1: 4, 2: 5}))
    print(outcome.line())
    assert outcome.published == 1000
    assert outcome.silently == 0
    assert outcome.twice == 0
    assert outcome.by_gossip + outcome.fetched + outcome.reported >= outcome.live
    assert outcome.by_gossip >= 0.9 * outcome.live

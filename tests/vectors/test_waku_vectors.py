"""The hash of a message against the vectors of 14/WAKU2-MESSAGE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privity.anon.messages import WakuMessage, message_hash

FILE = json.loads((Path(__file__).parent / "waku_message_hash.json").read_text())


@pytest.mark.parametrize("vector", FILE["vectors"], ids=lambda vector: vector["what"])
def test_the_hash_is_the_standard_s(vector: dict[str, Any]) -> None:
    meta = vector["meta"]
    message = WakuMessage(
        bytes.fromhex(vector["payload"]),
        FILE["content_topic"],
        timestamp=int(FILE["timestamp"], 16),
        meta=None if meta is None else bytes.fromhex(meta),
    )
    assert message_hash(FILE["pubsub_topic"], message).hex() == vector["expect"]

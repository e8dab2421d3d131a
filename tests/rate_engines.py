"""The engines that each attack on the bus's rate limit is tried with."""

from __future__ import annotations

import pytest

from messages_network import ToyEngine
from native import needs_kernel
from privity.anon.messages import NativeEngine

ENGINES = [
    pytest.param(ToyEngine, id="toy"),
    pytest.param(
        NativeEngine, id="native", marks=[needs_kernel("Rln", "recover"), pytest.mark.slow]
    ),
]

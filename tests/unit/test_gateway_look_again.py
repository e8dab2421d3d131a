"""A gateway that does not know a list of members looks once more, and not at every request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from privity.errors import AdmissionError, PeerError
from privity.node.admission_gateway import AdmissionGateway
from privity.node.gateway_role import GatewayApp

pytestmark = pytest.mark.anyio


class Members:
    def __init__(self) -> None:
        self.reads = 0
        self.down = False

    async def update(self) -> None:
        self.reads += 1
        if self.down:
            raise PeerError("the node is down")


def app(members: Members) -> Any:
    made: Any = object.__new__(GatewayApp)
    made._members, made._looked = SimpleNamespace(view=members), 0.0
    return made


async def test_it_looks_once_a_second_at_most() -> None:
    members = Members()
    one = app(members)
    assert [await one._look_again() for _ in range(50)] == [True] + [False] * 49
    assert members.reads == 1


async def test_a_ledger_that_is_down_changes_nothing() -> None:
    members = Members()
    members.down = True
    assert not await app(members)._look_again()


class Admission:
    """Knows a list of members from the second time on."""

    def __init__(self) -> None:
        self.asked = 0

    def screen(self, header: str | None) -> str:
        self.asked += 1
        if self.asked == 1:
            raise AdmissionError("not known", check="root")
        return "screened"


@pytest.mark.parametrize("looked", [True, False])
async def test_what_is_known_after_the_look_passes(looked: bool) -> None:
    async def look() -> bool:
        return looked

    admission: Any = Admission()
    gateway: Any = object.__new__(AdmissionGateway)
    gateway._admission, gateway._look_again = admission, look
    if looked:
        assert await gateway._screened("header") == "screened"
    else:
        with pytest.raises(AdmissionError):
            await gateway._screened("header")
        assert admission.asked == 1

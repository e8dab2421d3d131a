"""dstack's event logs, as JSON."""

from __future__ import annotations

import json

from fuzz.fuzz_tdx import _json
from fuzz.harness import Made, attempt
from pki.intel import event_log, rtmr3
from privity.attest.dstack.event_log import EventLog


def one(data: bytes) -> None:
    log = attempt(EventLog.from_json, _json(data))
    if log is not None:
        attempt(log.check, log.register)
        attempt(log.check_compose, "{}")
        attempt(log.registers)


def seeds() -> Made:
    logs = [event_log('{"name":"x"}', version=version) for version in (1, 2)]
    assert EventLog.from_json(logs[0]).register == rtmr3(logs[0])
    return Made([json.dumps(log).encode() for log in logs])

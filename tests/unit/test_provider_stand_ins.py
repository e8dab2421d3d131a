"""The stand-ins as processes of their own: they say what they are, and keep what they are sent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anthropic
import openai
import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("provider", ["openai", "azure-openai", "anthropic"])
def test_a_stand_in_is_a_server_of_its_own(provider: str, tmp_path: Path) -> None:
    record = tmp_path / "received"
    with subprocess.Popen(
        [sys.executable, "-m", "providers", provider, "--record", str(record)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert said["stand_in_for"] == provider
            assert said["url"].startswith("http://127.0.0.1:")
            asked = f"to {provider}"
            if provider == "anthropic":
                with anthropic.Anthropic(base_url=said["url"], api_key=said["key"]) as client:
                    message = client.messages.create(
                        model="m", max_tokens=9, messages=[{"role": "user", "content": asked}]
                    )
                assert message.content[0].type == "text"
            else:
                path = "/openai/v1" if provider == "azure-openai" else "/v1"
                headers = {"api-key": said["key"]} if provider == "azure-openai" else {}
                with openai.OpenAI(
                    base_url=said["url"] + path, api_key=said["key"], default_headers=headers
                ) as stock:
                    stock.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": asked}]
                    )
            assert asked.encode() in record.read_bytes(), "it writes as it goes"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)

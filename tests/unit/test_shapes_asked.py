"""What the stock clients send, asked of a provider of the other shape."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pydantic

from privity.infer.shapes.requests import chat_to_messages, messages_to_chat, wants_usage
from sdk_types import chat_request, messages_request
from shapes_recorded import CHAT_ANSWER, MESSAGES_ANSWER


class City(pydantic.BaseModel):
    """Which city."""

    name: str
    model_config = pydantic.ConfigDict(extra="forbid")


class Asked:
    """A transport that keeps what was asked, and answers with this."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.body: dict[str, Any] = {}
        self.http = httpx2.Client(transport=httpx2.MockTransport(self._take))
        self._answer = answer

    def _take(self, request: httpx2.Request) -> httpx2.Response:
        self.body = json.loads(request.content)
        return httpx2.Response(200, json=self._answer)


def test_what_the_openai_client_sends() -> None:
    text = [{"message": {"role": "assistant", "content": '{"name":"x"}'}, "finish_reason": "stop"}]
    asked = Asked(CHAT_ANSWER)
    with openai.OpenAI(base_url="http://d.test/v1", api_key="k", http_client=asked.http) as client:
        question: Any = [{"role": "user", "content": "where?"}]
        answer = client.chat.completions.create(model="m", messages=question)
        said = answer.choices[0].message
        # The client's own words for what was answered go back as they are.
        results = [{"role": "tool", "tool_call_id": c.id, "content": "1"} for c in said.tool_calls]
        client.chat.completions.create(model="m", messages=[*question, said, *results])
        made = chat_to_messages(asked.body)
        messages_request().validate_python(made)
        assert [turn["role"] for turn in made["messages"]] == ["user", "assistant", "user"]
        tool = openai.pydantic_function_tool(City)
        client.chat.completions.create(
            model="m",
            messages=question,
            tools=[tool],
            stream=False,
            max_completion_tokens=5,
        )
        made = chat_to_messages(asked.body)
        messages_request().validate_python(made)
        assert made["tools"][0]["name"] == "City" and made["tools"][0]["strict"] is True
        asked._answer = {**CHAT_ANSWER, "choices": [{**text[0], "index": 0}]}
        client.chat.completions.parse(model="m", messages=question, response_format=City)
        made = chat_to_messages(asked.body)
        messages_request().validate_python(made)
        assert made["output_config"]["format"]["schema"]["required"] == ["name"]
        assert not wants_usage(asked.body)


def test_what_the_anthropic_client_sends() -> None:
    asked = Asked(MESSAGES_ANSWER)
    with anthropic.Anthropic(
        base_url="http://d.test", api_key="k", http_client=asked.http
    ) as client:
        question: Any = [{"role": "user", "content": "where?"}]
        answer = client.messages.create(model="m", max_tokens=5, messages=question)
        said: Any = {"role": "assistant", "content": answer.content}
        results: Any = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "1"}
            for block in answer.content
            if block.type == "tool_use"
        ]
        client.messages.create(
            model="m",
            max_tokens=5,
            system="be short",
            messages=[*question, said, {"role": "user", "content": results}],
        )
        made = messages_to_chat(asked.body)
        chat_request().validate_python(made)
        roles = ["system", "user", "assistant", "tool", "tool"]
        assert [message["role"] for message in made["messages"]] == roles
        asked._answer = {
            **MESSAGES_ANSWER,
            "content": [{"type": "text", "text": '{"name":"x"}'}],
            "stop_reason": "end_turn",
        }
        client.messages.parse(model="m", max_tokens=5, messages=question, output_format=City)
        made = messages_to_chat(asked.body)
        chat_request().validate_python(made)
        assert made["response_format"]["json_schema"]["schema"]["required"] == ["name"]

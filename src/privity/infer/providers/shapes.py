"""What may be in a request of each shape, as data: the allow-lists of the guard.

Read off the parameter types of the `openai` and `anthropic` packages. A test compares the two and
fails where one of them learns a field that is not placed here
(tests/unit/test_provider_shapes.py::test_every_field_of_the_sdks_is_placed).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from privity.infer.providers.grammar import (
    DATA,
    PLAIN,
    TEXT,
    TEXTS,
    Fields,
    Gated,
    Items,
    Kinds,
    Only,
    Priced,
    Rule,
    Url,
    either,
)
from privity.policy import Feature

__all__ = ["DROPPED", "GRAMMARS", "REFUSED"]

DROPPED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "chat": frozenset({"user", "safety_identifier"}),
        "responses": frozenset({"user", "safety_identifier"}),
        "completions": frozenset({"user"}),
        "embeddings": frozenset({"user"}),
        # Anthropic's has one field, `user_id`: an identifier of the person.
        "messages": frozenset({"metadata"}),
    }
)
"""Fields that say who asks and change no answer: taken out, as apps set them unasked."""

REFUSED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "chat": frozenset({"moderation"}),
        "responses": frozenset({"moderation", "access_programs", "image"}),
        "messages": frozenset({"user_profile_id", "workspace_id"}),
        "completions": frozenset(),
        "embeddings": frozenset(),
    }
)
"""Fields of the SDKs that are known and refused whatever a policy names."""

_CACHE = Gated(Feature.PROMPT_CACHING)
_CACHES: dict[str, Rule] = {
    "prompt_cache_key": _CACHE,
    "prompt_cache_options": _CACHE,
    "prompt_cache_retention": Only((None, "in_memory"), Feature.PROMPT_CACHING),
}
_BREAK: dict[str, Rule] = {"prompt_cache_breakpoint": _CACHE}
_TIER = Priced(("auto", "default", "flex"))  # a faster one costs a multiple
_CALLERS = Only((None, ["direct"]), Feature.SERVER_TOOLS)

# Chat completions

_SAMPLING = (
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n",
    "parallel_tool_calls", "presence_penalty", "reasoning_effort", "seed", "stop", "stream",
    "temperature", "top_logprobs", "top_p", "verbosity",
)  # fmt: skip
_CHAT_PARTS = Kinds(
    {
        "text": Fields({"type": TEXT, "text": TEXT} | _BREAK),
        "refusal": Fields({"type": TEXT, "refusal": TEXT}),
        "image_url": Fields(
            {"type": TEXT, "image_url": either(Fields({"url": Url(), "detail": PLAIN}), Url())}
            | _BREAK
        ),
        "input_audio": Fields(
            {"type": TEXT, "input_audio": Fields({"data": TEXT, "format": TEXT})} | _BREAK
        ),
        "file": Fields(
            {
                "type": TEXT,
                "file": Fields(
                    {"file_data": TEXT, "filename": TEXT, "file_id": Gated(Feature.FILES)}
                ),
            }
            | _BREAK
        ),
    }
)
_CALL = Fields({"name": TEXT, "arguments": TEXT})
_CHAT_MESSAGE = Fields(
    {
        "role": TEXT,
        "content": either(Items(_CHAT_PARTS)),
        "name": TEXT,
        "refusal": TEXT,
        "tool_call_id": TEXT,
        "function_call": _CALL,
        "tool_calls": Items(
            Kinds(
                {
                    "function": Fields(
                        {"id": TEXT, "type": TEXT, "index": PLAIN, "function": _CALL}
                    ),
                    "custom": Fields(
                        {"id": TEXT, "type": TEXT, "custom": Fields({"name": TEXT, "input": TEXT})}
                    ),
                },
                default="function",
            )
        ),
        # What clients send back of an answer they were given.
        "annotations": Only((None, []), Feature.SERVER_TOOLS),
        "reasoning_content": TEXT,
        "reasoning": TEXT,
        "audio": Gated(Feature.STORE),
    }
)
_FUNCTION = Fields({"name": TEXT, "description": TEXT, "parameters": DATA, "strict": PLAIN})
_CHAT_TOOL = Kinds(
    {
        "function": Fields({"type": TEXT, "function": _FUNCTION}),
        "custom": Fields(
            {"type": TEXT, "custom": Fields({"name": TEXT, "description": TEXT, "format": DATA})}
        ),
    },
    like_nothing=Feature.SERVER_TOOLS,
)
_CHAT = Fields(
    dict.fromkeys(_SAMPLING, PLAIN)
    | _CACHES
    | {
        "model": TEXT,
        "messages": Items(_CHAT_MESSAGE),
        "tools": Items(_CHAT_TOOL),
        "functions": Items(_FUNCTION),
        "function_call": either(Fields({"name": TEXT})),
        "tool_choice": either(DATA),
        "logit_bias": DATA,
        "response_format": DATA,
        "service_tier": _TIER,
        "prediction": Fields({"type": TEXT, "content": either(Items(_CHAT_PARTS))}),
        "stream_options": Fields({"include_usage": PLAIN, "include_obfuscation": PLAIN}),
        "modalities": Only((None, ["text"]), Feature.STORE),
        "audio": Gated(Feature.STORE),
        "metadata": Gated(Feature.STORE),
        "store": Gated(Feature.STORE),
        "web_search_options": Gated(Feature.SERVER_TOOLS),
    }
)

# Responses

_RESPONSE_PARTS = Kinds(
    {
        "input_text": Fields({"type": TEXT, "text": TEXT} | _BREAK),
        "output_text": Fields(
            {
                "type": TEXT,
                "text": TEXT,
                "annotations": Only((None, []), Feature.SERVER_TOOLS),
                "logprobs": DATA,
            }
        ),
        "refusal": Fields({"type": TEXT, "refusal": TEXT}),
        "summary_text": Fields({"type": TEXT, "text": TEXT}),
        "reasoning_text": Fields({"type": TEXT, "text": TEXT}),
        "input_image": Fields(
            {"type": TEXT, "detail": PLAIN, "image_url": Url(), "file_id": Gated(Feature.FILES)}
            | _BREAK
        ),
        "input_file": Fields(
            {
                "type": TEXT,
                "detail": PLAIN,
                "file_data": TEXT,
                "filename": TEXT,
                "file_id": Gated(Feature.FILES),
                "file_url": Url(),
            }
            | _BREAK
        ),
    }
)
_ITEM: dict[str, Rule] = {
    "type": TEXT,
    "id": TEXT,
    "status": PLAIN,
    "call_id": TEXT,
    "name": TEXT,
    "namespace": TEXT,
    "caller": Only((None, {"type": "direct"}), Feature.SERVER_TOOLS),
}
_RESPONSE_ITEM = Kinds(
    {
        "message": Fields(
            _ITEM | {"role": TEXT, "phase": PLAIN, "content": either(Items(_RESPONSE_PARTS))}
        ),
        "function_call": Fields(_ITEM | {"arguments": TEXT}),
        "function_call_output": Fields(_ITEM | {"output": either(Items(_RESPONSE_PARTS))}),
        "custom_tool_call": Fields(_ITEM | {"input": TEXT}),
        "custom_tool_call_output": Fields(_ITEM | {"output": either(Items(_RESPONSE_PARTS))}),
        "reasoning": Fields(
            _ITEM
            | {
                "summary": Items(_RESPONSE_PARTS),
                "content": Items(_RESPONSE_PARTS),
                "encrypted_content": TEXT,
            }
        ),
    },
    default="message",
)
_RESPONSE_TOOL = Kinds(
    {
        "function": Fields(
            {
                "type": TEXT,
                "name": TEXT,
                "description": TEXT,
                "parameters": DATA,
                "output_schema": DATA,
                "strict": PLAIN,
                "allowed_callers": _CALLERS,
                "defer_loading": Only((None, False), Feature.SERVER_TOOLS),
            }
        ),
        "custom": Fields(
            {
                "type": TEXT,
                "name": TEXT,
                "description": TEXT,
                "format": DATA,
                "allowed_callers": _CALLERS,
                "defer_loading": Only((None, False), Feature.SERVER_TOOLS),
            }
        ),
    },
    like_nothing=Feature.SERVER_TOOLS,
)
_RESPONSES_PLAIN = (
    "include", "max_output_tokens", "max_tool_calls", "model", "parallel_tool_calls", "stream",
    "temperature", "top_logprobs", "top_p", "truncation",
)  # fmt: skip
_RESPONSES = Fields(
    dict.fromkeys(_RESPONSES_PLAIN, PLAIN)
    | _CACHES
    | {
        "input": either(Items(_RESPONSE_ITEM)),
        "instructions": TEXT,
        "service_tier": _TIER,
        "tools": Items(_RESPONSE_TOOL),
        "tool_choice": either(DATA),
        "text": Fields({"format": DATA, "verbosity": PLAIN}),
        "reasoning": Fields(
            dict.fromkeys(("context", "effort", "generate_summary", "summary"), PLAIN)
            | {"mode": Priced(("standard",))}
        ),
        "stream_options": Fields({"include_obfuscation": PLAIN}),
        "background": Gated(Feature.BATCH),
        "context_management": Gated(Feature.STORE),
        "conversation": Gated(Feature.ASSISTANTS),
        "metadata": Gated(Feature.STORE),
        "previous_response_id": Gated(Feature.STORE),
        "prompt": Gated(Feature.STORE),
        "store": Gated(Feature.STORE),
    }
)

# Messages

_MARK: dict[str, Rule] = {"type": TEXT, "cache_control": _CACHE}
_CITED: dict[str, Rule] = {"citations": DATA}
_TEXT_BLOCK = Fields(_MARK | _CITED | {"text": TEXT})
_SOURCE = Kinds(
    {
        "base64": Fields({"type": TEXT, "media_type": TEXT, "data": TEXT}),
        "text": Fields({"type": TEXT, "media_type": TEXT, "data": TEXT}),
        "content": Fields({"type": TEXT, "content": either(Items(_TEXT_BLOCK))}),
        "url": Fields({"type": TEXT, "url": Url()}),
        "file": Fields({"type": TEXT, "file_id": Gated(Feature.FILES)}),
    }
)
_PLAIN_BLOCKS: dict[str, Rule] = {
    "text": _TEXT_BLOCK,
    "image": Fields(_MARK | {"source": _SOURCE, "transformations": DATA}),
    "document": Fields(_MARK | _CITED | {"source": _SOURCE, "context": TEXT, "title": TEXT}),
    "search_result": Fields(
        _MARK | _CITED | {"source": TEXT, "title": TEXT, "content": Items(_TEXT_BLOCK)}
    ),
}
_BLOCKS = Kinds(
    _PLAIN_BLOCKS
    | {
        "tool_use": Fields(
            _MARK
            | {
                "id": TEXT,
                "name": TEXT,
                "input": DATA,
                "caller": Only((None, {"type": "direct"}), Feature.SERVER_TOOLS),
            }
        ),
        "tool_result": Fields(
            _MARK
            | {
                "tool_use_id": TEXT,
                "is_error": PLAIN,
                "content": either(Items(Kinds(_PLAIN_BLOCKS))),
            }
        ),
        "thinking": Fields(_MARK | {"thinking": TEXT, "signature": TEXT}),
        "redacted_thinking": Fields(_MARK | {"data": TEXT}),
    }
)
_TOOL: dict[str, Rule] = _MARK | {
    "name": TEXT,
    "strict": PLAIN,
    "input_examples": DATA,
    "allowed_callers": _CALLERS,
    "defer_loading": Only((None, False), Feature.SERVER_TOOLS),
}
_ON_THE_DEVICE = Fields(_TOOL | {"max_characters": PLAIN})
_MESSAGES_TOOL = Kinds(
    {
        "custom": Fields(
            _TOOL | {"description": TEXT, "input_schema": DATA, "eager_input_streaming": PLAIN}
        ),
        # Their calls come back to the client, which runs them.
        "bash_20*": _ON_THE_DEVICE,
        "text_editor_20*": _ON_THE_DEVICE,
        "memory_20*": _ON_THE_DEVICE,
    },
    default="custom",
    like_nothing=Feature.SERVER_TOOLS,
)
_MESSAGES_PLAIN = (
    "inference_geo", "max_tokens", "model", "stop_sequences", "stream",
    "temperature", "top_k", "top_p",
)  # fmt: skip
_MESSAGES = Fields(
    dict.fromkeys(_MESSAGES_PLAIN, PLAIN)
    | {
        "messages": Items(Fields({"role": TEXT, "content": either(Items(_BLOCKS))})),
        "system": either(Items(_TEXT_BLOCK)),
        "service_tier": Priced(("auto", "standard_only")),
        "speed": Priced(("standard",)),
        "tools": Items(_MESSAGES_TOOL),
        "tool_choice": Fields({"type": TEXT, "name": TEXT, "disable_parallel_tool_use": PLAIN}),
        "thinking": Fields({"type": TEXT, "budget_tokens": PLAIN, "display": PLAIN}),
        "output_config": Fields({"effort": PLAIN, "format": DATA}),
        "cache_control": _CACHE,
        "container": Gated(Feature.FILES),
        "context_management": Gated(Feature.STORE),
        "diagnostics": Gated(Feature.PROMPT_CACHING),
        "mcp_servers": Gated(Feature.SERVER_TOOLS),
    }
)

# Completions and embeddings

_COMPLETIONS = Fields(
    dict.fromkeys(
        (
            "best_of", "echo", "frequency_penalty", "logprobs", "max_tokens", "model", "n",
            "presence_penalty", "seed", "stop", "stream", "suffix", "temperature", "top_p",
        ),
        PLAIN,
    )
    | {
        "prompt": TEXTS,
        "logit_bias": DATA,
        "stream_options": Fields({"include_usage": PLAIN, "include_obfuscation": PLAIN}),
    }
)  # fmt: skip
_EMBEDDINGS = Fields({"model": TEXT, "input": TEXTS, "dimensions": PLAIN, "encoding_format": PLAIN})

GRAMMARS: Mapping[str, Fields] = MappingProxyType(
    {
        "chat": _CHAT,
        "responses": _RESPONSES,
        "messages": _MESSAGES,
        "completions": _COMPLETIONS,
        "embeddings": _EMBEDDINGS,
    }
)
"""By shape, all that may be in a request."""

"""Words of the protocol itself: closed sets, so that nothing of a person's passes for one of them.

A word that is missing here is not refused: it is compared with what is known to be personal, or
looked into as any other text.
"""

from __future__ import annotations

import re

__all__ = ["COUNTS", "FIELDS", "KEYWORDS", "LIMITS", "NAMES", "OPAQUE", "WORDS", "is_type"]

NAMES = frozenset(
    # Fields that hold names of the protocol, or identifiers that the provider made.
    "role type id object model tool_call_id call_id tool_use_id item_id encrypted_content "
    "signature "
    "status finish_reason encoding_format service_tier truncation detail phase "
    "media_type previous_response_id reasoning_effort effort verbosity modality".split()
)
OPAQUE = frozenset({"encrypted_content", "signature"})
"""Of these, what a provider encrypted or signed: random characters, and never to be changed."""

WORDS = frozenset(
    "user assistant system developer tool function model "
    "text input_text output_text summary_text reasoning_text refusal thinking redacted_thinking "
    "image image_url input_image input_audio audio file input_file document video "
    "tool_use tool_result tool_calls function_call function_call_output custom custom_tool_call "
    "custom_tool_call_output message reasoning reasoning_content item_reference search_result "
    "server_tool_use web_search_call file_search_call code_interpreter_call "
    "chat.completion response list embedding base64 url content char_location page_location "
    "content_block_location json_schema json_object grammar regex lark ephemeral enabled disabled "
    "adaptive auto any none required allowed_tools default flex priority scale standard_only fast "
    "low medium high xhigh max minimal original float "
    "stop length end_turn max_tokens stop_sequence pause_turn content_filter "
    "completed incomplete in_progress failed cancelled queued searching commentary final_answer "
    "summary detailed concise "
    "text/plain application/pdf image/png image/jpeg image/gif image/webp "
    "string number integer boolean object array null "
    "date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri "
    "uri-reference iri iri-reference uuid uri-template json-pointer relative-json-pointer "
    "int32 int64 double byte binary password".split()
)
"""Values of those fields, and the types and formats of JSON schema."""

FIELDS = frozenset(
    "annotations arguments budget_tokens cache_control call_id citations content context data "
    "description detail effort enabled encrypted_content file file_data file_id filename format "
    "function function_call id image_url index input input_audio input_schema json_schema "
    "include_usage messages mode name output parameters parts phase prompt reasoning "
    "reasoning_content refusal role schema signature source status strict summary syntax text "
    "thinking title tool_call_id tool_calls tool_use_id tools ttl type url variables verbosity "
    "is_error media_type document_index cited_text definition is_enabled disable_parallel_tool_use "
    "custom display".split()
)
"""Fields of the objects that the protocol defines; other keys of theirs are looked at."""

KEYWORDS = frozenset({"default", "examples", "example", "enum", "const", "input_examples"})
"""Keywords of definitions under which data stands, not a definition."""

LIMITS = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems "
    "maxItems minProperties maxProperties minContains maxContains".split()
)
"""Keywords of definitions that hold a bound."""

COUNTS = frozenset(
    "max_tokens max_completion_tokens max_output_tokens max_tool_calls budget_tokens n best_of "
    "temperature top_p top_k top_logprobs logprobs frequency_penalty presence_penalty dimensions "
    "index start_char_index end_char_index start_page_number end_page_number start_block_index "
    "end_block_index".split()
)
"""Fields of the protocol that count or measure."""

_TOOL = re.compile(
    r"(?:web_search|web_fetch|code_execution|bash|text_editor|computer|memory|tool_search_tool_\w+)"
    r"_20[0-9]{6}\Z"
)


def is_type(word: str) -> bool:
    """Tell whether a word is a type or a format, of JSON schema or of a provider's own tool."""
    return word in WORDS or _TOOL.match(word) is not None

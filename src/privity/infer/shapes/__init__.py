"""The shapes in which models are asked: chat completions and messages, and one as the other.

Promise: a request is translated whole or refused by the name of what does not fit, an answer is
translated as it comes, and one that was cut off stays cut off. ``chat`` is OpenAI's
``/v1/chat/completions``, ``messages`` is Anthropic's ``/v1/messages``; a client speaks the one it
knows, a provider may speak the other. spec/shapes.md.

Public names, each imported from its module: `paths.SHAPES` and `paths.shape_by_end`, which shape is
spoken where; `requests.chat_to_messages`, `requests.messages_to_chat`, `requests.wants_usage`;
`answers.messages_answer_to_chat`, `answers.chat_answer_to_messages`; `streams.MessagesStreamToChat`
and `streams.ChatStreamToMessages`; `errors.error_answer`, `errors.error_event`,
`errors.own_error`; `events.Event`, `events.EventReader`, `events.encode_event`;
`members.read_json`.
"""

"""The shapes in which models are asked: chat completions and messages, and one as the other.

``chat`` is OpenAI's ``/v1/chat/completions``, ``messages`` is Anthropic's ``/v1/messages``. A
client speaks the one it knows; a provider may speak the other. Here a request is translated whole
or refused, an answer is translated as it comes, and one that was cut off stays cut off.
"""

"""Questions to a store and its answers as bytes: 13/WAKU2-STORE, version 3.

One stream a question: a length-prefixed request, a length-prefixed response, closed.
"""

from __future__ import annotations

from typing import Any

from privity.anon.messages import schema
from privity.anon.messages.store import MAX_PAGE, Page, Question, Stored
from privity.anon.messages.topics import check_topic
from privity.anon.messages.waku import WakuMessage, message_hash
from privity.errors import MalformedError, OversizeError, PeerError

__all__ = [
    "MAX_REQUEST",
    "MAX_RESPONSE",
    "STORE_PROTOCOL",
    "decode_page",
    "decode_question",
    "encode_page",
    "encode_question",
    "encode_refusal",
]

STORE_PROTOCOL = "/vac/waku/store-query/3.0.0"
MAX_REQUEST = 16 * 1024
MAX_RESPONSE = 4 << 20
_MAX_TOPICS = 100
_HASH = 32
_OK, _BAD_REQUEST = 200, 400


def encode_question(question: Question, request_id: str) -> bytes:
    """Return the request. Run by the asker.

    Raises:
        OversizeError: it has too many topics or hashes for a request.
    """
    optional: dict[str, Any] = {
        "pubsub_topic": question.pubsub_topic,
        "time_start": question.start,
        "time_end": question.end,
        "pagination_cursor": question.cursor,
    }
    request = schema.record(
        "StoreQueryRequest",
        request_id=request_id,
        include_data=question.data,
        content_topics=question.content_topics,
        message_hashes=question.hashes,
        pagination_forward=question.forward,
        pagination_limit=question.limit,
        **{name: value for name, value in optional.items() if value is not None},
    )
    encoded: bytes = request.SerializeToString(deterministic=True)
    if len(encoded) > MAX_REQUEST:
        raise OversizeError(f"a question to a store has at most {MAX_REQUEST} bytes")
    return encoded


def decode_question(data: bytes) -> tuple[Question, str]:
    """Read a request, and return it with its id. Run by the store.

    Raises:
        OversizeError: it is larger than `MAX_REQUEST`.
        MalformedError: it is no request, or a part of it is outside its limits.
    """
    if len(data) > MAX_REQUEST:
        raise OversizeError(f"a question to a store has at most {MAX_REQUEST} bytes")
    found = schema.parse("StoreQueryRequest", data)
    if len(found.content_topics) > _MAX_TOPICS or len(found.message_hashes) > MAX_PAGE:
        raise MalformedError("a question has at most 100 topics and 100 hashes")
    hashes = tuple(_hash(digest) for digest in found.message_hashes)
    given = {name: getattr(found, name) for name in _CONDITIONS if found.HasField(name)}
    cursor = given.get("pagination_cursor")
    question = Question(
        pubsub_topic=given.get("pubsub_topic"),
        content_topics=tuple(check_topic(topic) for topic in found.content_topics),
        hashes=hashes,
        start=given.get("time_start"),
        end=given.get("time_end"),
        cursor=None if not cursor else _hash(cursor),
        forward=found.pagination_forward,
        limit=min(found.pagination_limit, MAX_PAGE) or Question.limit,
        data=found.include_data,
    )
    return question, found.request_id[:64]


_CONDITIONS = ("pubsub_topic", "time_start", "time_end", "pagination_cursor")


def encode_page(page: Page, request_id: str) -> bytes:
    """Return the response with a page of messages. Run by the store."""
    response = schema.record("StoreQueryResponse", request_id=request_id, status_code=_OK)
    response.status_desc = "OK"
    for stored in page.messages:
        row = response.messages.add(message_hash=stored.hash)
        if stored.message is not None:
            row.message.CopyFrom(stored.message.to_record())
            row.pubsub_topic = stored.pubsub_topic
    if page.cursor is not None:
        response.pagination_cursor = page.cursor
    encoded: bytes = response.SerializeToString(deterministic=True)
    return encoded


def encode_refusal(request_id: str, reason: str) -> bytes:
    """Return the response that says why there is none."""
    encoded: bytes = schema.record(
        "StoreQueryResponse", request_id=request_id, status_code=_BAD_REQUEST, status_desc=reason
    ).SerializeToString(deterministic=True)
    return encoded


def decode_page(data: bytes, request_id: str) -> Page:
    """Read a response. Run by the asker.

    Raises:
        OversizeError: it is larger than `MAX_RESPONSE`.
        MalformedError: it is no response to the request, or a message is not what its hash says.
        PeerError: the store refused.
    """
    if len(data) > MAX_RESPONSE:
        raise OversizeError(f"a store's answer has at most {MAX_RESPONSE} bytes")
    found = schema.parse("StoreQueryResponse", data)
    if found.status_code != _OK:
        raise PeerError(f"the store refused the question: status {found.status_code}")
    if found.request_id != request_id or len(found.messages) > MAX_PAGE:
        raise MalformedError("not an answer to this question")
    cursor = _hash(found.pagination_cursor) if found.pagination_cursor else None
    return Page(tuple(_row(row) for row in found.messages), cursor)


def _row(row: Any) -> Stored:
    digest = _hash(row.message_hash)
    if not row.HasField("message"):
        return Stored(digest)
    message, topic = WakuMessage.from_record(row.message), check_topic(row.pubsub_topic)
    if message_hash(topic, message) != digest:
        raise MalformedError("a message of the answer is not what its hash says")
    return Stored(digest, topic, message)


def _hash(digest: bytes) -> bytes:
    if len(digest) != _HASH:
        raise MalformedError("the hash of a message has 32 bytes")
    return digest

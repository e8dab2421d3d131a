"""The protobuf messages of Waku that privity speaks, as descriptors built at run time.

There is no generated code and no compiler in the build: the tables below are the schema. Field
numbers and types are those of 14/WAKU2-MESSAGE, 17/WAKU2-RLN-RELAY and of version 3 of
13/WAKU2-STORE.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Any

from privity.errors import MalformedError, MissingDependency

__all__ = ["parse", "record"]

_PACKAGE = "privity.waku"
_HINT = "`make setup` in a checkout of privity; elsewhere pip install 'privity[messages]'"

# name -> (field, number, type, is it optional with presence, or "repeated")
_SCHEMA = MappingProxyType(
    {
        "RateLimitProof": (
            ("proof", 1, "bytes", ""),
            ("merkle_root", 2, "bytes", ""),
            ("epoch", 3, "bytes", ""),
            ("share_x", 4, "bytes", ""),
            ("share_y", 5, "bytes", ""),
            ("nullifier", 6, "bytes", ""),
            ("rln_identifier", 7, "bytes", ""),
        ),
        "WakuMessage": (
            ("payload", 1, "bytes", ""),
            ("content_topic", 2, "string", ""),
            ("version", 3, "uint32", "optional"),
            ("timestamp", 10, "sint64", "optional"),
            ("meta", 11, "bytes", "optional"),
            ("rate_limit_proof", 21, "RateLimitProof", "optional"),
            ("ephemeral", 31, "bool", "optional"),
        ),
        "WakuMessageKeyValue": (
            ("message_hash", 1, "bytes", "optional"),
            ("message", 2, "WakuMessage", "optional"),
            ("pubsub_topic", 3, "string", "optional"),
        ),
        "StoreQueryRequest": (
            ("request_id", 1, "string", ""),
            ("include_data", 2, "bool", ""),
            ("pubsub_topic", 10, "string", "optional"),
            ("content_topics", 11, "string", "repeated"),
            ("time_start", 12, "sint64", "optional"),
            ("time_end", 13, "sint64", "optional"),
            ("message_hashes", 20, "bytes", "repeated"),
            ("pagination_cursor", 51, "bytes", "optional"),
            ("pagination_forward", 52, "bool", ""),
            ("pagination_limit", 53, "uint64", "optional"),
        ),
        "StoreQueryResponse": (
            ("request_id", 1, "string", ""),
            ("status_code", 10, "uint32", "optional"),
            ("status_desc", 11, "string", "optional"),
            ("messages", 20, "WakuMessageKeyValue", "repeated"),
            ("pagination_cursor", 51, "bytes", "optional"),
        ),
    }
)


def record(name: str, **values: object) -> Any:
    """Return an empty message of the schema, with ``values`` set.

    Raises:
        MissingDependency: the protobuf library is not installed.
    """
    return _classes()[name](**values)


def parse(name: str, data: bytes) -> Any:
    """Return the message that ``data`` is the encoding of; the caller has limited its size.

    Raises:
        MalformedError: it is no such encoding.
        MissingDependency: the protobuf library is not installed.
    """
    from google.protobuf.message import DecodeError

    found = _classes()[name]()
    try:
        found.ParseFromString(data)
    except (DecodeError, ValueError) as error:  # ValueError: a string that is not UTF-8
        raise MalformedError(f"not a {name} of Waku") from error
    return found


@cache
def _classes() -> dict[str, Any]:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingDependency("messages need the protobuf library", hint=_HINT) from error
    file = descriptor_pb2.FileDescriptorProto(
        name="privity/waku.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _SCHEMA.items():
        _describe(file.message_type.add(name=name), fields, descriptor_pb2.FieldDescriptorProto)
    pool = descriptor_pool.DescriptorPool()  # our own: nothing collides with other packages' files
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f"{_PACKAGE}.{name}")) for name in _SCHEMA}


def _describe(message: Any, fields: tuple[tuple[str, int, str, str], ...], kinds: Any) -> None:
    """Add ``fields`` to the descriptor of one message."""
    for name, number, kind, rule in fields:
        field = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if rule == "repeated":
            field.label = kinds.LABEL_REPEATED
        if kind in _SCHEMA:
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            continue
        field.type = getattr(kinds, f"TYPE_{kind.upper()}")
        if rule == "optional":  # proto3 presence: a one-of with this field alone
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")

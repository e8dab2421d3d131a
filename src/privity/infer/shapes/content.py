"""Texts, images and documents of a turn: content parts of chat, content blocks of messages."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from privity.errors import InputError
from privity.infer.shapes.members import Members, named

__all__ = ["block_of_part", "part_of_block", "text_part"]

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)(?:;[a-z]+=[\w-]+)*;base64,", re.IGNORECASE)
_ADDRESS = "is an address: the provider would fetch it, and its host would see that"
_SEND = "send the data itself"


def text_part(text: str) -> dict[str, Any]:
    """Return a text; both shapes write it alike."""
    return {"type": "text", "text": text}


def _data_url(value: str, members: Members, name: str) -> tuple[str, str]:
    head = _DATA_URL.match(value)
    if head is None:
        members.refuse(name, _ADDRESS if "://" in value[:16] else "is not a data: URL", _SEND)
    return head[1].lower(), value[head.end() :]


def block_of_part(part: Any, where: str) -> dict[str, Any] | None:
    """Return a user's content part as a content block; None where it is an empty text.

    Raises:
        InputError: it has no counterpart.
    """
    members = Members(part, where)
    members.forgo("prompt_cache_breakpoint")
    kind = members.must("type")
    block: dict[str, Any] | None
    if kind == "text":
        text = members.must("text")
        block = text_part(text) if text else None
    elif kind == "image_url":
        block = _image_block(Members(members.take("image_url"), f"{where}image_url."))
    elif kind == "file":
        block = _document_block(Members(members.take("file"), f"{where}file."))
    else:
        members.refuse("type", f"may not be {named(kind)}", "texts, images and files are taken")
    members.end()
    return block


def _image_block(members: Members) -> dict[str, Any]:
    media, data = _data_url(members.must("url"), members, "url")
    if media not in _IMAGES:
        members.refuse("url", f"holds {named(media)}", f"one of: {', '.join(_IMAGES)}")
    members.only("detail", ["auto"], "cannot be chosen there")
    members.end()
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _document_block(members: Members) -> dict[str, Any]:
    if members.take("file_id") is not None:
        members.refuse("file_id", "names a file that the provider keeps", _SEND)
    media, data = _data_url(members.must("file_data"), members, "file_data")
    title = members.text("filename")
    members.end()
    source: dict[str, Any]
    if media == "application/pdf":
        source = {"type": "base64", "media_type": media, "data": data}
    elif media == "text/plain":
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (ValueError, binascii.Error):
            members.refuse("file_data", "is not text in UTF-8")
        source = {"type": "text", "media_type": media, "data": text}
    else:
        members.refuse("file_data", f"holds {named(media)}", "PDF and plain text are taken")
    return {"type": "document", "source": source, **({"title": title} if title else {})}


def part_of_block(block: Any, where: str) -> dict[str, Any]:
    """Return a content block of a person or a system as a content part.

    Raises:
        InputError: it has no counterpart.
    """
    members = Members(block, where)
    members.forgo("cache_control")
    kind = members.must("type")
    if kind == "text":
        part = text_part(members.must("text"))
        members.only("citations", [[]], "has no counterpart in chat completions")
    elif kind == "image":
        members.only("transformations", [{}], "has no counterpart in chat completions")
        source = Members(members.take("source"), f"{where}source.")
        media, data = _base64(source, source.must("type"))
        part = {"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}}
    elif kind == "document":
        part = _part_of_document(members, where)
    else:
        members.refuse("type", f"may not be {named(kind)}", "texts, images and documents are taken")
    members.end()
    return part


def _base64(source: Members, kind: str) -> tuple[str, str]:
    if kind in ("url", "file"):
        source.refuse("type", _ADDRESS if kind == "url" else "is a file the provider keeps", _SEND)
    if kind != "base64":
        source.refuse("type", f"may not be {named(kind)}", _SEND)
    found = source.must("media_type"), source.must("data")
    source.end()
    return found


def _part_of_document(members: Members, where: str) -> dict[str, Any]:
    title, context = members.text("title"), members.text("context")
    members.only("citations", [{}, {"enabled": False}], "cannot be had from chat completions")
    source = Members(members.take("source"), f"{where}source.")
    kind = source.must("type")
    if kind == "text":
        source.only("media_type", ["text/plain"], "is not text/plain")
        data = source.must("data")
        source.end()
        # A chat has no documents in words; their title and context stand before them.
        return text_part("\n".join(line for line in (title, context, data) if line))
    if context:
        raise InputError(f"{where}context has no counterpart for a PDF in chat completions")
    media, data = _base64(source, kind)
    file = {"filename": title or "document.pdf", "file_data": f"data:{media};base64,{data}"}
    return {"type": "file", "file": file}

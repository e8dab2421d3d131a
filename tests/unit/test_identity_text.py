"""Bytes, digests, times and JSON members as text: what is refused, by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from privity.errors import InputError, MalformedError, OversizeError
from privity.identity import multibase
from privity.identity.digests import check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import MAX_DEPTH, canonical, loads_canonical, loads_strict
from privity.identity.timestamps import format_time, parse_time


@pytest.mark.parametrize(
    "text", ["QQ==", "QR", "Q", "+w", "/w", "QQ\n", " QQ", "Q\u00e9", "QUI=", "\ud800\ud800"]
)
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedError):
        multibase.decode_base64url(text)


@pytest.mark.parametrize(
    "text", ["QQ", "QR==", "Q", "QQ=", "QQ==\n", " QQ==", "-w==", "Q\u00e9==", "QQ==QQ==", "QQ==="]
)
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedError):
        multibase.decode_base64(text)


@pytest.mark.parametrize("text", ["A0", "a", "a0 ", "a0 b1", "a0\n", "0xa0", "g0", "\uff11\uff11"])
def test_hex_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedError):
        multibase.decode_hex(text)


@pytest.mark.parametrize("text", ["", "m", "zA0", "zA ", "z\u00e9", "z" + "1" * 300, "uQR", "kA"])
def test_multibase_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedError):
        multibase.decode(text)


def test_multibase_only_takes_the_prefixes_allowed() -> None:
    assert multibase.decode("uQQ") == b"A"
    with pytest.raises(MalformedError):
        multibase.decode("uQQ", allowed="z")
    with pytest.raises(MalformedError):
        multibase.decode("fab", allowed="f")


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"\\u0062":2}}',
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e999",
        "9007199254740992",
        "-9007199254740992",
        "1" * 5000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
        "",
        "{",
        "1 2",
        "\ufeff1",
        "'a'",
        "nul",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_json_that_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        loads_strict(text.encode())


def test_json_that_is_not_utf8_is_refused() -> None:
    for data in (b'"\xff"', '"a"'.encode("utf-16"), b'"\xed\xa0\x80"', b'"\xc0\x80"'):
        with pytest.raises(MalformedError):
            loads_strict(data)


def test_json_above_the_limit_is_refused_unread() -> None:
    assert loads_strict(b" " * 8 + b"1", max_bytes=9) == 1
    with pytest.raises(OversizeError):
        loads_strict(b"[" * 10, max_bytes=9)


@pytest.mark.parametrize(
    "data",
    [
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"b":1,"a":1}',
        b'{"\\u0061":1}',
        b"1.0",
        b"-0",
        b'"\\/"',
        b"1E1",
    ],
)
def test_another_spelling_of_the_same_json_is_refused(data: bytes) -> None:
    loads_strict(data)
    with pytest.raises(MalformedError, match="canonical form"):
        loads_canonical(data)


def _deep() -> Any:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [2**53, float("nan"), "\ud800", {"\ud800": 1}, {1: 2}, b"bytes", _deep()], ids=type
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        canonical(value)


def test_digest_spelling() -> None:
    assert check_digest(digest(b"")) == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    for text in (digest(b"").upper(), digest(b"")[:-1], digest(b"")[7:], digest(b"") + "\n", ""):
        with pytest.raises(MalformedError):
            check_digest(text)


def test_times_are_whole_seconds_utc() -> None:
    moment = datetime(2026, 1, 31, 10, 0, 0, 999_999, timezone(timedelta(hours=1)))
    assert format_time(moment) == "2026-01-31T09:00:00Z"
    assert parse_time("2026-01-31T09:00:00Z") == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert format_time(datetime.min.replace(tzinfo=UTC)) == "0001-01-01T00:00:00Z"
    with pytest.raises(InputError, match="zone"):
        format_time(datetime(2026, 1, 31))
    with pytest.raises(InputError, match="years"):
        format_time(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T09:00:00+00:00",
        "2026-01-31T09:00:00.0Z",
        "2026-01-31 09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "0000-01-31T09:00:00Z",
        "2026-01-31T09:00:00z",
        "2026-1-31T09:00:00Z",
        "\u0662026-01-31T09:00:00Z",
        "2026-01-31T09:00:00Z\n",
        "",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_time(text)


def test_fields_refuses_what_is_missing_unknown_or_of_another_form() -> None:
    def read(value: Any) -> tuple[str, int, bytes, list[Any], dict[str, Any], Any]:
        fields = Fields(value, "thing")
        found = (
            fields.text("text", max_chars=4),
            fields.count("count", most=9),
            fields.blob("blob", most=2),
            fields.items("items", most=1),
            fields.object("object"),
            fields.optional("time", fields.time),
        )
        fields.constant("one", 1)
        fields.inner("inner").done()
        fields.done()
        return found

    good: dict[str, Any] = {
        "text": "abcd",
        "count": 9,
        "blob": "QUI",
        "items": [0],
        "object": {},
        "time": None,
        "one": 1,
        "inner": {},
    }
    assert read(good) == ("abcd", 9, b"AB", [0], {}, None)
    wrong: list[tuple[str, Any]] = [
        *(("text", bad) for bad in ("", "abcde", 1, None, ["a"])),
        *(("count", bad) for bad in (-1, 10, True, 1.0, "1", None)),
        *(("blob", bad) for bad in ("", "QUJD", "QUI=", 1, "A" * 5000)),
        *(("items", bad) for bad in ([0, 0], {}, None)),
        *(("object", bad) for bad in ([], None)),
        *(("time", bad) for bad in ("soon", 1)),
        *(("one", bad) for bad in (True, 1.0, 2, "1")),
        *(("inner", bad) for bad in ({"more": 1}, [], None)),
        ("unknown", 1),
    ]
    for name, value in wrong:
        with pytest.raises(MalformedError, match="thing"):
            read({**good, name: value})
    for name in good:
        with pytest.raises(MalformedError, match=name):
            read({k: v for k, v in good.items() if k != name})
    for value in (None, [], "", 1):
        with pytest.raises(MalformedError, match="thing is not a JSON object"):
            read(value)

"""What left though it was recognised: in numbers, keys, definitions, identifiers, split parts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from answered import restored
from privity.errors import PolicyRefusal
from privity.infer.providers.guard import check
from privity.infer.pseudonyms.kept import SealedMaps
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.shapes.paths import shape_by_end
from privity.policy.sensitive import Kind, Mode
from scripted_detector import ScriptedDetector

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
IBAN, MAIL, PHONE = "DE44500105175407324931", "anna@firma-wexley.de", "4917112345678"
PERSONAL = {
    "Anna Schmidt": Kind.PERSON,
    IBAN: Kind.BANK_ACCOUNT,
    MAIL: Kind.EMAIL,
    PHONE: Kind.PHONE,
    "63571": Kind.POSTCODE,
}
TOLD = {"role": "user", "content": f"Anna Schmidt, {IBAN}, {MAIL}, {PHONE}, 63571"}


def make(texts: dict[str, Kind] | None = None, **named: Any) -> Pseudonymiser:
    return Pseudonymiser(ScriptedDetector(PERSONAL if texts is None else texts), **named)


def chat(*more: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [TOLD, *more], **fields}


def messages(*more: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [TOLD, *more], **fields}


def function(schema: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


def of_property(**schema: Any) -> list[dict[str, Any]]:
    return function({"type": "object", "properties": {"a": schema}})


def parts(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def called(**arguments: Any) -> dict[str, Any]:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": arguments}
    return {"role": "assistant", "content": [use]}


def told(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": content}


CASES = {
    "pattern": (CHAT, chat(tools=of_property(type="string", pattern="^Anna Schmidt$"))),
    "format": (CHAT, chat(tools=of_property(type="string", format=f"such as {MAIL}"))),
    "format of one word": (CHAT, chat(tools=of_property(type="string", format=IBAN))),
    "type that is none": (CHAT, chat(tools=of_property(type="Schmidt"))),
    "types that are none": (CHAT, chat(tools=of_property(type=["string", "Schmidt"]))),
    "reference": (CHAT, chat(tools=function({"$ref": "#/$defs/schmidt"}))),
    "default": (CHAT, chat(tools=function({"type": "object", "default": {"format": IBAN}}))),
    "constant": (CHAT, chat(tools=of_property(const=int(PHONE)))),
    "small constant": (CHAT, chat(tools=of_property(enum=[63571]))),
    "limit": (CHAT, chat(tools=of_property(maximum=int(PHONE)))),
    "example": (
        MESSAGES,
        messages(
            tools=[
                {
                    "name": "f",
                    "input_schema": {"type": "object"},
                    "input_examples": [{"type": "Anna Schmidt", "n": float(PHONE)}],
                }
            ]
        ),
    ),
    "key of logit_bias": (CHAT, chat(logit_bias={"Anna Schmidt": 1})),
    "key of tool_choice": (
        CHAT,
        chat(tool_choice={"type": "function", "Anna Schmidt": {"name": "f"}}),
    ),
    "key of citations": (
        MESSAGES,
        messages(
            {
                "role": "user",
                "content": [{"type": "text", "text": "x", "citations": {"Anna Schmidt": True}}],
            }
        ),
    ),
    "tool_call_id": (CHAT, chat({"role": "tool", "tool_call_id": IBAN, "content": "x"})),
    "role": (CHAT, chat({"role": IBAN, "content": "x"})),
    "phase": (
        RESPONSES,
        {
            "model": "m",
            "input": [TOLD, {"type": "message", "role": "user", "phase": IBAN, "content": "x"}],
        },
    ),
    "choice of a tool": (CHAT, chat(tool_choice="schmidt")),
    "float": (MESSAGES, messages(called(phone=float(PHONE)))),
    "small integer": (MESSAGES, messages(called(zip=63571))),
    "float in JSON": (CHAT, chat(told(f'{{"phone": {PHONE}.0}}'))),
    "exponent in JSON": (CHAT, chat(told('{"phone": 4.917112345678e12}'))),
    "small integer in JSON": (CHAT, chat(told('{"zip": 63571}'))),
    "seed": (CHAT, chat(seed=int(PHONE))),
    "small seed": (CHAT, chat(seed=63571)),
    "split account": (CHAT, chat(parts("IBAN DE4450010517", "5407324931 ok"))),
    "split in three": (CHAT, chat(parts("IBAN DE445001", "0517540", "7324931 ok"))),
    "split address": (CHAT, chat(parts("write to anna@firma-", "wexley.de"))),
    "split name": (CHAT, chat(parts("is Anna Sch", "midt there?"))),
    "split known word": (CHAT, chat(parts("is Sch", "midt there?"))),
}


def left(text: str) -> list[str]:
    """Return the originals that a text still holds, whatever a part border splits."""
    bare = text.replace('"}, {"type": "text", "text": "', "").replace(" ", "").casefold()
    known = ("annaschmidt", "schmidt", IBAN.casefold(), "firma-", PHONE, "4.917112345678e", "63571")
    return [one for one in known if one in bare]


@pytest.mark.parametrize("name", CASES)
def test_no_recognised_original_leaves(name: str) -> None:
    path, body = CASES[name]
    passed = check(shape_by_end(path), body)  # the guard has nothing against it
    departure = make().replace(path, passed, Mode.REPLACE)
    assert not left(json.dumps(departure.body, ensure_ascii=False))


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 7, "max_tokens": 63571, "temperature": 0.5, "n": 1, "reasoning_effort": "max"},
        {"tools": of_property(type="string", format="date-time", maxLength=63571)},
        {"tools": of_property(type=["integer", "null"], maximum=9007199254740991)},
        {"tools": function({"$schema": "https://json-schema.org/draft/2020-12/schema"})},
        {"tools": function({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}})},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True}}},
        {"logit_bias": {"50256": -100}, "tool_choice": "required"},
    ],
)
def test_what_is_of_the_protocol_stays(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [TOLD], **fields}
    more = {"max": Kind.OWN, "50256": Kind.POSTCODE}
    departure = make(PERSONAL | more).replace(CHAT, body, Mode.REPLACE)
    assert {name: departure.body[name] for name in fields} == fields


def test_a_number_stays_a_number_where_one_is_due() -> None:
    tools = of_property(const=int(PHONE), maximum=float(PHONE))
    body = chat(seed=int(PHONE), tools=tools)
    departure = make().replace(CHAT, body, Mode.REPLACE)
    schema = departure.body["tools"][0]["function"]["parameters"]["properties"]["a"]
    for made in (departure.body["seed"], schema["const"], schema["maximum"]):
        assert isinstance(made, (int, float)) and made != int(PHONE)


def test_a_call_and_its_result_keep_one_identifier() -> None:
    call = {"id": IBAN, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = chat(
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": IBAN, "content": "x"},
    )
    sent = make().replace(CHAT, body, Mode.REPLACE).body["messages"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] != IBAN


def test_what_was_split_is_restored_and_the_parts_say_the_same() -> None:
    split = parts("IBAN DE4450010517", "540732", "4931", " ok")
    split["content"][2]["prompt_cache_breakpoint"] = True
    body = {"messages": [split]}
    departure = make({}).replace(CHAT, body, Mode.REPLACE)
    made = departure.body["messages"][0]["content"]
    assert [part["text"][:4] for part in made] == ["IBAN", " ok"], "an empty part is refused"
    assert made[0]["prompt_cache_breakpoint"] is True
    assert departure.replaced == {Kind.BANK_ACCOUNT: 1}
    assert restored(departure, "".join(p["text"] for p in made)) == f"IBAN {IBAN} ok"
    assert split["content"][1]["text"] == "540732", "the client's own request is not changed"


def test_a_name_of_two_words_in_two_parts_is_seen() -> None:
    texts = {"Anna Schmidt": Kind.PERSON}
    departure = make(texts).replace(
        CHAT, {"messages": [parts("for Anna", "Schmidt")]}, Mode.REPLACE
    )
    assert departure.replaced and not left(json.dumps(departure.body))


def test_what_is_split_counts_in_every_mode() -> None:
    body = {"messages": [parts("IBAN DE4450010517", "5407324931 ok")]}
    assert make({}).examine(CHAT, body) == {Kind.BANK_ACCOUNT: 1}
    with pytest.raises(PolicyRefusal):
        make({}).replace(CHAT, body, Mode.REFUSE)
    warned = make({}).replace(CHAT, body, Mode.WARN)
    assert warned.body == body and warned.kept == {Kind.BANK_ACCOUNT: 1}


@pytest.mark.parametrize(
    "name",
    ["Anita Das", "Don Draper", "Le Thi Hoa", "Maria Santa", "Li X", "De Niro", "E. Das", "DON LI"],
)
def test_a_name_whose_word_is_also_a_title_or_an_article_leaves_nothing(name: str) -> None:
    text = f"Please write to {name} at once."
    departure = make({name: Kind.PERSON}).replace(
        CHAT, {"messages": [{"role": "user", "content": text}]}, Mode.REPLACE
    )
    sent = departure.body["messages"][0]["content"]
    assert not set(name.split()) - {"E."} & set(sent.rstrip(".").split())
    assert restored(departure, sent) == text


@pytest.mark.parametrize(
    ("name", "kept"),
    [("Frau Schmidt", "Frau "), ("Dr. Anna Schmidt", "Dr. "), ("Hans von der Heide", " von der "),
     ("MARIA DE LA CRUZ", " DE LA "), ("M. Dupont", "M. "), ("Mr Das", "Mr ")],
)  # fmt: skip
def test_titles_and_articles_stay(name: str, kept: str) -> None:
    body = {"messages": [{"role": "user", "content": name}]}
    sent = make({name: Kind.PERSON}).replace(CHAT, body, Mode.REPLACE).body
    assert kept in sent["messages"][0]["content"]


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_known_name_percent_encoded_in_an_address_does_not_leave(times: int) -> None:
    path = "J%C3%BCrgen-K%C3%B6hlmann"
    for _ in range(times):
        path = path.replace("%", "%25")
    text = f"Jürgen Köhlmann, see https://people.firm.org/{path}"
    departure = make({"Jürgen Köhlmann": Kind.PERSON}).replace(
        CHAT, {"messages": [{"role": "user", "content": text}]}, Mode.REPLACE
    )
    sent = departure.body["messages"][0]["content"]
    assert "hlmann" not in sent and restored(departure, sent) == text


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
OPAQUE: dict[str, tuple[str, dict[str, Any]]] = {
    "picture": (
        CHAT,
        {"messages": [{"role": "user", "content": [PICTURE]}]},
    ),
    "file": (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}]},
    ),
    "base64": (CHAT, {"messages": [{"role": "user", "content": "A" * 5000}]}),
    "token numbers": ("/v1/completions", {"prompt": [15496, 11, 995]}),
    "lists of token numbers": ("/v1/embeddings", {"input": [[1, 2], [3]]}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPAQUE)
def test_what_cannot_be_looked_into_counts_as_every_kind(name: str) -> None:
    path, body = OPAQUE[name]
    counts = make().examine(path, body)
    assert set(counts) == set(Kind) and all(count >= 1 for count in counts.values())
    assert make().replace(path, body, Mode.WARN).body == body


@pytest.mark.parametrize("text", ["my diabetes", "she is a Quaker", "call Anna Schmidt"])
def test_in_refuse_nothing_of_any_kind_leaves_and_the_message_names_none(text: str) -> None:
    kinds = {"diabetes": Kind.HEALTH, "Quaker": Kind.BELIEF, "Anna Schmidt": Kind.PERSON}
    with pytest.raises(PolicyRefusal) as refused:
        make(kinds).replace(CHAT, {"messages": [{"role": "user", "content": text}]}, Mode.REFUSE)
    assert not {kind.value for kind in Kind} & set(re.split(r"[^\w-]+", refused.value.message))
    assert refused.value.report["found"]


def sizes(folder: Path) -> Iterator[int]:
    return (file.stat().st_size for file in folder.iterdir())


def test_the_length_of_a_kept_map_tells_little(tmp_path: Path) -> None:
    seen = set()
    for number, text in enumerate(("Anna Schmidt", f"Anna Schmidt, {MAIL}, {IBAN}, {PHONE}")):
        folder = tmp_path / str(number)
        make(keep=SealedMaps(folder, b"k" * 32)).replace(
            CHAT, {"messages": [{"role": "user", "content": text}]}, Mode.REPLACE
        )
        seen |= set(sizes(folder))
    assert len(seen) == 1
    maps = SealedMaps(tmp_path / "large", b"k" * 32)
    for size in (0, 1, 16376, 16377, 100_000):
        maps.save("a" * 64, b"x" * size)
        assert maps.load("a" * 64) == b"x" * size
        (length,) = sizes(tmp_path / "large")
        assert (length - length % 1024) in (16384, 32768, 131072)


def test_a_kept_map_that_nobody_used_is_removed(tmp_path: Path) -> None:
    now = [1_000_000_000.0]
    maps = SealedMaps(tmp_path, b"k" * 32, clock=lambda: now[0])
    used, unused, other = "a" * 64, "b" * 64, tmp_path / "somebody's"
    other.write_bytes(b"")
    for name in (used, unused):
        maps.save(name, b"x")
    for file in tmp_path.iterdir():
        os.utime(file, (now[0], now[0]))
    now[0] += 29 * 86400
    assert maps.load(used) == b"x"
    now[0] += 2 * 86400
    again = SealedMaps(tmp_path, b"k" * 32, clock=lambda: now[0])
    assert again.load(unused) is None and again.load(used) == b"x" and other.exists()
    now[0] += 31 * 86400
    again.save("c" * 64, b"x")
    assert again.load(used) is None

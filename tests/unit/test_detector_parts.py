"""What makes the detector fast: 8-bit products, windows at sentences, and what is remembered."""

from __future__ import annotations

import gc

import pytest

from privity.errors import MissingDependency
from privity.infer.pseudonyms import presidio
from privity.infer.pseudonyms.eight_bits import in_eight_bits
from privity.infer.pseudonyms.rampart import WINDOW, load_rampart, windows
from privity.infer.pseudonyms.recent import Recent
from privity.infer.pseudonyms.sentences import starts


def field(number: int, value: bytes | int) -> bytes:
    """Return one field of a protobuf, of less than 128 bytes or below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def test_a_file_without_such_products_is_copied() -> None:
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    model = field(1, 8) + field(7, field(1, node) + field(2, b"graph"))
    assert in_eight_bits(model) == model
    assert in_eight_bits(b"") == b""


@pytest.mark.parametrize("bad", [b"\x3a", b"\x3a\x05ab", b"\x0d", b"\xff" * 12, b"\x39" + b"a" * 8])
def test_what_is_no_such_file_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|unknown"):
        in_eight_bits(bad)


def test_products_become_eight_bits_and_the_old_weights_are_gone() -> None:
    np = pytest.importorskip("numpy")
    rng = np.random.default_rng(1)
    rows, columns = 32, 64
    packed = rng.integers(0, 256, (columns, 1, 16), np.uint8)
    scales = rng.random((columns, 1), np.float32) + 0.1
    sizes = {b"K": rows, b"N": columns, b"bits": 4, b"block_size": 32}
    node = b"".join(
        [field(1, name) for name in (b"x", b"w", b"s")]
        + [field(2, b"y"), field(4, b"MatMulNBits")]
        + [field(5, field(1, name) + field(3, size)) for name, size in sizes.items()]
    )

    def tensor(name: bytes, raw: bytes) -> bytes:
        length = bytes([len(raw) & 127 | 128, len(raw) >> 7])
        return field(8, name) + bytes([9 << 3 | 2]) + length + raw

    parts = [tensor(b"w", packed.tobytes()), tensor(b"s", scales.tobytes())]
    graph = field(1, node)
    for one in parts:
        graph += bytes([5 << 3 | 2, len(one) & 127 | 128, len(one) >> 7]) + one
    made = in_eight_bits(bytes([7 << 3 | 2, len(graph) & 127 | 128, len(graph) >> 7]) + graph)
    assert b"DynamicQuantizeMatMul" in made
    assert b"MatMulNBits" not in made
    assert packed.tobytes() not in made
    whole = np.stack([packed & 15, packed >> 4], -1).astype(np.float32).reshape(columns, 32) - 8
    wanted = (whole * scales).T
    scale = np.abs(wanted).max(0) / 63
    assert np.rint(wanted / scale).astype(np.int8).tobytes() in made


def test_sentences_begin_where_they_do() -> None:
    text = "Dear Dr. Weber, hello. It is 3.5 km.\n\nName:\nAnna? ¿Y tú? e.g. this."
    assert [text[at : at + 5] for at in starts(text)] == ["It is", "Name:", "Anna?", "¿Y tú"]


def test_windows_end_at_sentences_and_cover_all() -> None:
    words = list(range(400))
    assert windows(words, {100, 190, 310}) == [(0, 100), (100, 190), (190, 310), (310, 400)]
    spans = windows(words)
    assert spans[0] == (0, WINDOW)
    assert spans[1][0] < WINDOW
    assert set().union(*(range(a, b) for a, b in spans)) == set(words)


def test_what_is_remembered_is_bounded() -> None:
    recent: Recent[int] = Recent(2)
    for place in range(3):
        recent.put(recent.name(bytes([place])), place)
    assert [recent.get(recent.name(bytes([place]))) for place in range(3)] == [None, 1, 2]


def test_what_is_remembered_holds_no_text() -> None:
    recent, other = Recent[int](2), Recent[int](2)
    assert recent.name(b"Anna") != other.name(b"Anna")
    recent.put(recent.name(b"Anna Schmidt"), 1)
    held = [*recent._answers, repr(recent).encode()]
    assert not any(b"Anna" in one for one in held)


def test_a_second_turn_costs_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        rampart = load_rampart()
    except MissingDependency:
        pytest.skip("the models are not installed")
    runs = []
    session = rampart._session

    class Counted:
        def run(self, *args: object) -> object:
            runs.append(1)
            return session.run(*args)

    monkeypatch.setattr(rampart, "_session", Counted())
    text = "\n".join(f"Line {n} says that Karl Weber paid the bill of May." for n in range(60))
    first = list(rampart.find(text))
    whole = len(runs)
    assert whole > 5
    assert list(rampart.find(text)) == first
    assert len(runs) == whole
    assert list(rampart.find(text + "\nMy name is Ingrid Bergström."))[: len(first)] == first
    assert len(runs) <= whole + 2


def test_spacy_forgets_the_words_it_saw() -> None:
    try:
        found = presidio.load_presidio()
    except MissingDependency:
        pytest.skip("the models are not installed")
    list(found.find("The letter is from Wilhelmina Qwertzuiop, and it was late."))
    gc.collect()
    assert "Qwertzuiop" not in found._nlp.vocab.strings

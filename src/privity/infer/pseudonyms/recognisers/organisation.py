"""Organisations by their legal form or the word that says what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_UP = "A-ZÀ-ÖØ-Þ"
_WORD = rf"[{_UP}][\w&'\u2019.-]{{0,40}}"
_BETWEEN = r"(?:,? | & |, | (?:and|und|et|y|e|of|de|du|la|für|für die|del|der) )"
_FORMS = (
    r"(?:GmbH(?: & Co\.?(?: KG(?:aA)?)?)?|gGmbH|mbH|AG(?: & Co\.?(?: KG(?:aA)?| OHG)?)?|KGaA|KG|"
    r"OHG(?: mbH)?|GbR|UG|e\.? ?V\.|e\.? ?G\.|SE|"
    r"Stiftung(?: & Co\. KGaA)?|Inc\.?|LLC|L\.L\.C\.|Ltd\.?|Limited|PLC|plc|LLP|Corp\.?|"
    r"Corporation|Company|Group|"
    r"S\.?A\.?S\.?|S\.?A\.?R\.?L\.?|S\.?A\.?U\.?|S\.?L\.?U\.?|S\.?L\.?L\.?|S\.?L\.?|S\.?A\.?|"
    r"S\.?C\.?P\.?|S\. ?Com\.|S\.?A\.?D\.?|S\. ?Coop\.?|SCI|SNC|SpA|S\.p\.A\.|B\.?V\.?|N\.?V\.?|"
    r"A/S|AB|Oy)"
)
RULES = (
    Rule(
        "legal-form",
        Kind.ORGANISATION,
        re.compile(rf"(?<![\w&'-]){_WORD}(?:{_BETWEEN}{_WORD}){{0,4}} {_FORMS}(?![\w])"),
        SURE,
    ),
    Rule(
        "and-sons",
        Kind.ORGANISATION,
        re.compile(
            rf"(?<![\w&'-]){_WORD}(?:, {_WORD})?,? (?:and|&|und|et|y) (?:Sons|Söhne|Fils|"
            rf"Hijos|[Aa]sociados|[Aa]ssociés|Partners|Partner|Associates|Co\.)(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "three-names",
        Kind.ORGANISATION,
        re.compile(rf"(?<![\w&'-]){_WORD}, {_WORD} (?:and|und|et|y) {_WORD}(?= |[.,;:!?\n]|$)"),
        0.5,
    ),
    Rule(
        "institution",
        Kind.ORGANISATION,
        re.compile(
            rf"(?<![\w-])(?:(?:University|Hospital|Bank|Institute|College|Clinic|Church|"
            rf"Ministry) of (?:the )?{_WORD}(?: {_WORD}){{0,2}}|"
            rf"(?:{_WORD} ){{1,3}}(?:University|Hospital|Clinic|Bank|College|School|"
            rf"Institute|Foundation|Church)|"
            rf"(?:Universität|Klinikum|Krankenhaus|Stadtwerke|Sparkasse|Gymnasium|"
            rf"Grundschule|Hochschule) {_WORD}|"
            rf"(?:Universit[ée]|H[ôo]pital|Clinique|Lyc[ée]e|Coll[èe]ge|Soci[ée]t[ée]|"
            rf"Banque) (?:de |du |de la |d'|des )?{_WORD}(?: {_WORD})?|"
            rf"(?:Universidad|Hospital|Cl[íi]nica|Colegio|Instituto|Banco|Grupo|Talleres|"
            rf"Construcciones) (?:de |del |de la )?{_WORD}(?: {_WORD})?)(?!\w)"
        ),
        LIKELY,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield organisations."""
    return apply(RULES, text)

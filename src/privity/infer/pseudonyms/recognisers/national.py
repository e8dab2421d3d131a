"""Identifiers that a state or a health system gives: by check digits, or after their label.

Those with a check digit and a form of their own are taken anywhere; bare digits need a label, or
their check digits and no better reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms import check_digits as check
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, LIKELY, SURE, Rule, apply, labelled
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_A, _Z = r"(?<![\w.,-])", r"(?![\w-]|[.,]\d)"
_ID = r"(?=[A-Z-]{0,10}\d)[A-Z0-9]{2,}(?:[ ./-]?[A-Z0-9]{1,6}){0,5}".replace("{2,}", "{2,16}")


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(_A + pattern + _Z)


def _long(value: str) -> bool:
    """Return whether it is one, after a label: five characters or more, three of them digits."""
    plain = check.compact(value)
    return 5 <= len(plain) <= 20 and sum(c.isdigit() for c in plain) >= 3


_NATIONAL, _HEALTH = Kind.NATIONAL_ID, Kind.HEALTH_ID
_BY_FORM = (
    Rule("ssn", _NATIONAL, _form(r"\d{3}[- ]\d{2}[- ]\d{4}"), SURE, check.ssn),
    Rule(
        "nino",
        _NATIONAL,
        _form(
            r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-"
            r"Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]?"
        ),
        0.93,
    ),
    Rule("nhs-number", _HEALTH, _form(r"\d{3}[ -]\d{3}[ -]\d{4}"), LIKELY, check.nhs),
    Rule("steuer-id", _NATIONAL, _form(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"), LIKELY, check.german_tax_id),
    Rule(
        "sozialversicherung",
        _NATIONAL,
        _form(r"\d{2} ?\d{6} ?[A-Z] ?\d{3}"),
        CERTAIN,
        check.german_social,
    ),
    Rule("kvnr", _HEALTH, _form(r"[A-Z] ?\d{3} ?\d{3} ?\d{3}"), CERTAIN, check.kvnr),
    Rule(
        "nir",
        _NATIONAL,
        _form(r"[1-478] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3}[ -]?\d{2}"),
        CERTAIN,
        check.nir,
    ),
    Rule(
        "dni",
        _NATIONAL,
        _form(r"(?:\d{8}|\d{2}\.\d{3}\.\d{3}|[XYZ]-?\d{7})[ -]?[A-Z]"),
        CERTAIN,
        check.dni,
    ),
    Rule("nuss", _NATIONAL, _form(r"\d{2}[ /-]?\d{8}[ /-]?\d{2}"), LIKELY, check.nuss),
    Rule(
        "codice-fiscale",
        _NATIONAL,
        _form(
            r"[A-Z]{6}[0-9A-Z]{2}[A-Z][0-9A-Z]{2}[A"
            r"-Z][0-9A-Z]{3}[A-Z]"
        ),
        CERTAIN,
        check.italian_fiscal,
    ),
    Rule(
        "uk-driving-licence",
        Kind.DRIVING_LICENCE,
        _form(r"[A-Z9]{5} ?\d{6} ?[A-Z9]{2} ?\d[A-Z]{2}"),
        CERTAIN,
    ),
    Rule(
        "passport-line",
        Kind.PASSPORT,
        re.compile(r"P[A-Z<][A-Z]{3}[A-Z<]{39}\s{1,2}[A-Z0-9<]{44}"),
        CERTAIN,
    ),
    Rule(
        "card-line",
        _NATIONAL,
        re.compile(r"[IAC][A-Z<][A-Z]{3}[A-Z0-9<]{25}\s{1,2}[A-Z0-9<]{30}\s{1,2}[A-Z<]{30}"),
        CERTAIN,
    ),
)
_BY_LABEL = (
    Rule(
        "tax-labelled",
        _NATIONAL,
        labelled(
            r"ssn|social security|itin|ein|tin|tax (?:id|number|reference|payer)\w{0,8}|utr|"
            r"national insurance|"
            r"nino|ni (?:number|no)|steuer-?(?:id|nummer|nr\.?|identifikationsnummer)\w{0,6}|"
            r"idnr\.?|"
            r"sozialversicherungs-?(?:nummer|nr\.?)|rentenversicherungsnummer|"
            r"s[ée]curit[ée] sociale|"
            r"num[ée]ro (?:fiscal|d'identification)|nir|spi|seguridad social|nuss|naf|"
            r"d\.?n\.?i\.?|n\.?i\.?[ef]\.?|c\.?i\.?f\.?|documento (?:nacional|de identidad)|"
            r"carte (?:nationale )?d'identit[ée]|cni|id(?:entity)? card|national id\w{0,8}|"
            r"codice fiscale|pesel|bsn|ahv(?:-?nr\.?)?",
            _ID,
        ),
        SURE,
        _long,
    ),
    Rule(
        "identity-card",
        Kind.PASSPORT,
        labelled(
            r"passport|reisepass(?:nummer|-?nr\.?)?|passnummer|pass-?nr\.?|personalausweis\w{0,8}|"
            r"ausweisnummer|"
            r"passeport|pasaporte",
            _ID,
        ),
        SURE,
        _long,
    ),
    Rule(
        "driving-labelled",
        Kind.DRIVING_LICENCE,
        labelled(
            r"driv(?:ing|er'?s?) ?-?licen[cs]e|licen[cs]e number|dl ?#|f[üu]hrerschein(?:nummer|"
            r"-?nr\.?)?|"
            r"permis(?: de conduire)?|(?:permiso|carn[ée]t|licencia) de conducir",
            _ID,
        ),
        SURE,
        _long,
    ),
    Rule(
        "nhs-labelled", _HEALTH, labelled(r"nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}"), CERTAIN, check.nhs
    ),
    Rule(
        "health-labelled",
        _HEALTH,
        labelled(
            r"nhs|mrn|medical record\w{0,2}|patient(?:en)?-?(?: ?id| number| no\.?|nummer|-?nr\.?)|"
            r"medicare|medicaid|"
            r"(?:health )?insurance (?:id|number|no|or record)\w{0,8}|member id|record number|"
            r"policy number|"
            r"krankenkassen-?(?:nummer|nr\.?)|versicherten-?(?:nummer|nr\.?)|"
            r"krankenversicherten\w{0,8}|kvnr|fallnummer|"
            r"num[ée]ro d'assur[ée]|n[°º] d'assur[ée]|assur[ée] n[°º]|carte vitale|"
            r"num[ée]ro de patient|ipp|"
            r"tarjeta sanitaria|n[úu]mero de afiliaci[óo]n|historia cl[íi]nica|nhc|cip|sip",
            _ID,
        ),
        SURE,
        _long,
    ),
)
RULES = _BY_FORM + _BY_LABEL


def recognise(text: str) -> Iterator[Finding]:
    """Yield identifiers of persons."""
    return apply(RULES, text)

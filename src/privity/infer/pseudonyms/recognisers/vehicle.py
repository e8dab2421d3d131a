"""Vehicles: number plates, most of which need a word before them, and identification numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms import check_digits
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_WORDS = re.compile(
    r"(?i)(?<!\w)(?:plate|registration|licen[cs]e|reg\.?|vrm|kennzeichen|kfz|nummernschild|"
    r"plaque|immatricul\w{1,8}|"
    r"matr[íi]cula|placa|car|vehicle|auto|wagen|fahrzeug|voiture|v[ée]hicule|coche|"
    r"veh[íi]culo)(?!\w)"
)
_VIN_WORDS = re.compile(
    r"(?i)(?<!\w)(?:vin|chassis|fin|fahrgestell\w{0,8}|fahrzeug|vehicle|v[ée]hicule|bastidor|"
    r"veh[íi]culo|car)(?!\w)"
)
_A, _Z = r"(?<![\w-])", r"(?![\w-])"
RULES = (
    Rule(
        "vin",
        Kind.VEHICLE,
        re.compile(rf"{_A}[A-HJ-NPR-Z0-9]{{17}}{_Z}"),
        CERTAIN,
        check_digits.vin,
    ),
    Rule(
        "vin-labelled",
        Kind.VEHICLE,
        re.compile(rf"{_A}(?=[A-Z]{{0,16}}\d)[A-HJ-NPR-Z0-9]{{17}}{_Z}"),
        SURE,
        words=_VIN_WORDS,
    ),
    Rule(
        "plate-de",
        Kind.VEHICLE,
        re.compile(rf"{_A}[A-ZÄÖÜ]{{1,3}}[- :][A-Z]{{1,2}}[- ]?[1-9]\d{{0,3}}[EH]?{_Z}"),
        SURE,
        words=_WORDS,
    ),
    Rule(
        "plate-de-alone",
        Kind.VEHICLE,
        re.compile(rf"{_A}[A-ZÄÖÜ]{{1,3}}-[A-Z]{{1,2}} [1-9]\d{{1,3}}[EH]?{_Z}"),
        LIKELY,
    ),
    Rule(
        "plate-fr",
        Kind.VEHICLE,
        re.compile(
            rf"{_A}[A-HJ-NP-TV-Z]{{2}}-\d{{3}}-[A-HJ-NP"
            rf"-TV-Z]{{2}}{_Z}"
        ),
        LIKELY,
    ),
    Rule(
        "plate-any",
        Kind.VEHICLE,
        re.compile(
            rf"{_A}(?=[A-Z -]{{0,7}}\d)(?=[\d -]{{0,7}}"
            rf"[A-Z])[A-Z0-9]{{1,5}}(?:[ -][A-Z0-9]{{1,5}}){{0,2}}{_Z}"
        ),
        0.7,
        lambda text: 4 <= len(check_digits.compact(text)) <= 9,
        _WORDS,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield plates and identification numbers of vehicles."""
    return apply(RULES, text)

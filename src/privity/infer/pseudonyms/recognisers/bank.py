"""Accounts and cards: IBAN and cards by their check digits, other numbers by their label."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms import check_digits
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, SURE, Rule, apply, labelled
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_ACCOUNT = (
    r"account (?:number|no\.?|#|nr\.?)|acct\.?|a/c|kontonummer|konto(?:-?nr\.?)|"
    r"num[ée]ro de compte|compte (?:n[°º]|bancaire)|n[úu]mero de cuenta|cuenta (?:n\.?[°º]|"
    r"bancaria|corriente)"
)
RULES = (
    Rule(
        "card",
        Kind.CARD,
        re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){11,18}(?![\w-]|[.,]\d)"),
        0.95,
        check_digits.card,
    ),
    Rule(
        "card-labelled",
        Kind.CARD,
        labelled(
            r"(?:credit |debit )?card(?: number| no\.?| #)?|kreditkarte\w{0,8}|kartennummer|"
            r"carte(?: bancaire| bleue| de cr[ée]dit)?|tarjeta(?: de cr[ée]dito)?",
            r"\d(?:[ -]?\d){12,18}",
        ),
        SURE,
    ),
    Rule(
        "iban-labelled",
        Kind.BANK_ACCOUNT,
        labelled(r"iban", r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}", gap=12),
        SURE,
    ),
    Rule(
        "bic",
        Kind.BANK_ACCOUNT,
        labelled(
            r"bic|swift(?:[-/ ]?(?:bic|code))?",
            r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?",
            gap=12,
        ),
        CERTAIN,
    ),
    Rule("account", Kind.BANK_ACCOUNT, labelled(_ACCOUNT, r"\d(?:[ -]?\d){4,19}"), SURE),
    Rule(
        "routing",
        Kind.BANK_ACCOUNT,
        labelled(r"routing|aba|rtn|transit", r"\d{9}"),
        SURE,
        check_digits.aba_routing,
    ),
    Rule(
        "sort-code",
        Kind.BANK_ACCOUNT,
        labelled(r"sort[ -]?code", r"\d{2}[- ]?\d{2}[- ]?\d{2}", gap=12),
        SURE,
    ),
    Rule(
        "blz",
        Kind.BANK_ACCOUNT,
        labelled(r"blz|bankleitzahl", r"\d{3} ?\d{3} ?\d{2}", gap=12),
        SURE,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield accounts and cards."""
    for start, end, right in check_digits.ibans(text):
        yield Finding(start, end, Kind.BANK_ACCOUNT, CERTAIN if right else 0.96, "iban")
    yield from apply(RULES, text)

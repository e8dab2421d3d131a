"""Wallets of crypto-currencies: addresses by checksum or form, and phrases that open them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "base58_check", "bech32", "recognise"]

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def base58_check(text: str) -> bool:
    """Whether it is Base58Check: the last four bytes are a double SHA-256 of the others."""
    import base58

    try:
        return len(base58.b58decode_check(text)) >= 21
    except ValueError:
        return False


def bech32(text: str) -> bool:
    """BIP 173 and BIP 350: the checksum over prefix and data."""
    plain = text.lower()
    prefix, _, data = plain.rpartition("1")
    if any(c not in _BECH32 for c in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in values + [_BECH32.index(c) for c in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, step in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= step if top >> i & 1 else 0
    return check in (1, 0x2BC830A3)


_EDGE, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
RULES = (
    Rule(
        "base58-address",
        Kind.WALLET,
        re.compile(rf"{_EDGE}[123mnDLMAt9XrT][1-9A-HJ-NP-Za-km-z]{{25,34}}{_END}"),
        CERTAIN,
        base58_check,
    ),
    Rule(
        "bech32-address",
        Kind.WALLET,
        re.compile(rf"{_EDGE}(?i:bc|tb|ltc)1[02-9AC-HJ-NP-Zac-hj-np-z]{{11,87}}+{_END}"),
        CERTAIN,
        bech32,
    ),
    Rule(
        "ethereum-address", Kind.WALLET, re.compile(rf"{_EDGE}0x[0-9a-fA-F]{{40}}{_END}"), CERTAIN
    ),
    Rule(
        "extended-public-key",
        Kind.WALLET,
        re.compile(rf"{_EDGE}[xyz]pub[1-9A-HJ-NP-Za-km-z]{{107}}{_END}"),
        CERTAIN,
    ),
    Rule(
        "monero-address",
        Kind.WALLET,
        re.compile(rf"{_EDGE}[48][0-9AB][1-9A-HJ-NP-Za-km-z]{{93}}{_END}"),
        CERTAIN,
    ),
    Rule(
        "wallet-key",
        Kind.SECRET,
        re.compile(rf"{_EDGE}[5KLc][1-9A-HJ-NP-Za-km-z]{{50,51}}{_END}"),
        CERTAIN,
        base58_check,
    ),
    Rule(
        "seed-phrase",
        Kind.WALLET,
        re.compile(
            r"(?i:seed|mnemonic|recovery|wiederherstellungs|r[ée]cup[ée]ration|"
            r"recuperaci[óo]n|"
            r"semilla)[^\n:=]{0,30}[:=]?\s{0,3}[\"']?(?P<it>(?:[a-zé]{3,8}[ ,]{1,2}){11,23}"
            r"[a-zé]{3,8})(?!\w)"
        ),
        SURE,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield wallets and what opens them."""
    return apply(RULES, text)

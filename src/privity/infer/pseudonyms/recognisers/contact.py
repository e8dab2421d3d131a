"""Ways to reach somebody or their machine: e-mail, URL, user name, IP and hardware address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_LOCAL = r"(?<![\w.+%-])[\w.!#$%&*+/=?^`~-]{1,64}"
_AT = r"\s{0,2}[\[({<]\s?(?i:at|ät|@|arroba|chez|a)\s?[\])}>]\s{0,2}"
_DOT = r"(?:\.|\s{0,2}[\[({<]\s?(?i:dot|punkt|point|punto|\.)\s?[\])}>]\s{0,2})"
_HOST = r"[\w-]{1,63}"
_TLD = r"(?:com|org|net|edu|gov|info|biz|io|app|dev|eu|de|at|ch|fr|be|es|uk|us|it|nl|pl|ai|me|co)"
_USER = (
    r"user(?:[_ -]?(?:name|id))?|login(?:[_ -]?name)?|account name|screen[_ -]?name|handle|"
    r"nick(?:name)?|"
    r"benutzer(?:name|kennung|konto)?|anmeldename|nutzer(?:name)?|utilisateur|identifiant|pseudo|"
    r"nom d'utilisateur|usuario|nombre de usuario|skype|telegram|instagram|twitter|github|"
    r"discord|tiktok|snapchat"
)
_NAME = r"(?P<it>@?[A-Za-z0-9](?:[\w.-]{1,38}[A-Za-z0-9_])(?!\w))"
_PROSE = re.compile(
    r"(?i)(?:name|id|is|was|has|had|and|or|the|of|in|to|can(?:not|t)?|could|with|who|that|for|"
    r"from|account|"
    r"agent|input|data|story|type|group|role|error|interface|experience|ist|hat|kann|und|oder|"
    r"der|die|das|"
    r"nicht|sich|mit|est|ne|ou|et|la|le|les|de|du|des|qui|peut|es|no|puede|el|los|que|none|null|"
    r"true|false|"
    r"root|admin|string|str|self|guide|manual|page|profile|list|friendly|defined|generated|table|s)"
)


def _ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("/")[0].partition("%")[0])
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


def _ip6(text: str) -> bool:
    return text.count(":") >= 2 and len(text) > 5 and _ip(text)


def _user(text: str) -> bool:
    plain = text.strip("@.-_")
    return len(plain) >= 3 and _PROSE.fullmatch(plain) is None and not plain.isdigit()


def _nick(text: str) -> bool:
    """Return whether a word looks like a nickname: digits, dots or underscores, no capitals."""
    return any(c.isdigit() or c in "._" for c in text) or text.islower()


RULES = (
    Rule(
        "email",
        Kind.EMAIL,
        re.compile(rf"{_LOCAL}@(?:{_HOST}\.){{1,8}}[^\W_](?:[\w-]{{0,61}}[^\W_])"),
        CERTAIN,
    ),
    Rule(
        "email-quoted",
        Kind.EMAIL,
        re.compile(rf"(?<!\w)\"[^\"\s@]{{1,64}}\"@(?:{_HOST}\.){{1,8}}\w{{2,63}}"),
        CERTAIN,
    ),
    Rule(
        "email-local",
        Kind.EMAIL,
        re.compile(
            r"(?<!\w)(?i:mail|e-mail|mailto|courriel|correo)[^\n@]{0,12}?[\s:]"
            r"(?P<it>[\w.+-]{1,64}@[\w-]{1,63})(?![\w.@])"
        ),
        LIKELY,
    ),
    Rule(
        "email-spelled",
        Kind.EMAIL,
        re.compile(rf"(?<![\w.+%-])[\w.+-]{{1,64}}{_AT}{_HOST}(?:{_DOT}{_HOST}){{1,4}}"),
        CERTAIN,
    ),
    Rule(
        "email-spoken",
        Kind.EMAIL,
        re.compile(
            rf"(?<![\w.+%-])[\w.+-]{{2,64}} (?i:at|ät|arroba|chez) {_HOST}"
            rf"(?: (?i:dot|punkt|point|punto) {_HOST}){{1,4}}"
        ),
        SURE,
    ),
    Rule(
        "email-bare-at",
        Kind.EMAIL,
        re.compile(rf"(?<![\w.+%-])[\w.+-]{{2,64}} (?:(?i:at|arroba) |@ ?){_HOST}\.{_TLD}(?!\w)"),
        LIKELY,
    ),
    Rule(
        "url",
        Kind.URL,
        re.compile(
            r"(?<![A-Za-z0-9])(?i:https?|ftps?|sftp|wss?|ssh)://[^\s<>\"'`{}|"
            r"\\^\[\]]{2,2048}+"
        ),
        SURE,
    ),
    Rule(
        "url-www",
        Kind.URL,
        re.compile(r"(?<![\w.@/-])(?i:www)\.[^\s<>\"'`{}|\\^,;()]{3,512}+"),
        SURE,
    ),
    Rule(
        "url-bare",
        Kind.URL,
        re.compile(
            rf"(?<![\w.@/-])(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.){{1,5}}{_TLD}"
            r"(?::\d{2,5})?(?:/[^\s<>\"'`{}|\\^,;()]{0,512}+|(?![\w(=]|\.\w))"
        ),
        0.6,
    ),
    Rule(
        "ipv4",
        Kind.IP,
        re.compile(r"(?<![\w.])(?<![vV]ersion )(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w]|\.\d)"),
        SURE,
        _ip,
    ),
    Rule(
        "ipv6",
        Kind.IP,
        re.compile(
            r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?:%\w"
            r"{1,15})?"
            r"(?![\w:])"
        ),
        SURE,
        _ip6,
    ),
    Rule(
        "mac",
        Kind.IP,
        re.compile(
            r"(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}("
            r"?![\w:-])"
        ),
        CERTAIN,
    ),
    Rule(
        "mac-dotted",
        Kind.IP,
        re.compile(
            r"(?<![\w.])(?=[0-9A-Fa-f.]{0,13}\d)[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-F"
            r"a-f]{4}(?![\w.])"
        ),
        SURE,
    ),
    Rule(
        "imei",
        Kind.IP,
        re.compile(r"(?<!\w)(?i:imei|imsi)[^\d\n]{0,12}(?P<it>\d{14,16})(?!\d)"),
        CERTAIN,
    ),
    Rule(
        "user-labelled",
        Kind.USERNAME,
        re.compile(
            rf"(?<![^\W_])(?i:{_USER})[\"'*`]{{0,2}}\s{{0,2}}[:=]\s{{0,2}}[\"'*`]{{0,2}}"
            rf"{_NAME}"
        ),
        SURE,
        _user,
    ),
    Rule(
        "user-told",
        Kind.USERNAME,
        re.compile(
            rf"(?<![^\W_])(?i:{_USER}) (?:(?i:is|ist|lautet|est|es|named|called|le|la|"
            rf"el) )?[\"'`]?{_NAME}"
        ),
        SURE,
        lambda text: _user(text) and _nick(text),
    ),
    Rule(
        "user-wrote",
        Kind.USERNAME,
        re.compile(
            r"(?<![\w.@/])(?P<it>[a-z][a-z0-9]{0,19}[\w.-]{0,19}[a-z0-9])"
            r"(?= (?:wrote|said|posted|schrieb|meinte|a écrit|écrit|escribió|dijo)(?!\w))"
        ),
        SURE,
        _user,
    ),
    Rule(
        "handle",
        Kind.USERNAME,
        re.compile(
            r"(?<![\w@./\n])(?<!^)@(?!(?:import|media|param|return|override|here|channel|"
            r"everyone|all)\b)"
            r"[A-Za-z0-9_][\w.]{1,29}(?![\w/(@])"
        ),
        LIKELY,
    ),
    Rule(
        "handle-first",
        Kind.USERNAME,
        re.compile(r"^@[A-Za-z0-9_]{2,30}(?=[,:]? [A-Za-zÀ-ÿ])", re.MULTILINE),
        LIKELY,
    ),
    Rule(
        "home-path",
        Kind.USERNAME,
        re.compile(
            r"(?:(?<![\w.])/(?:home|Users)/|(?<![A-Za-z])[A-Za-z]:\\{1,2}Users\\{1,2})"
            r"(?!(?i:public|shared|default|user|runner)\b)(?P<it>[\w.-]{2,40})"
        ),
        SURE,
    ),
)
_TRIM = ".,;:!?)*_>"


def recognise(text: str) -> Iterator[Finding]:
    """Yield addresses on a network; a sentence's punctuation is no part of a URL."""
    for found in apply(RULES, text):
        end = found.end
        if found.kind is Kind.URL:
            while end > found.start + 4 and text[end - 1] in _TRIM:
                end -= 1
        yield Finding(found.start, end, found.kind, found.score, found.source)

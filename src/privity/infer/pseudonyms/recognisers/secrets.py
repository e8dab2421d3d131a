"""Secrets: keys by their vendors' prefixes, tokens, passwords after a label, connection strings.

The prefixes are the ones that vendors document for secret scanning. Hex and base64 without a
prefix or a label are not taken for secrets: a commit or a checksum looks the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import CERTAIN, LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "entropy", "recognise"]

_VENDORS = (
    r"sk-ant-[A-Za-z0-9_-]{16,250}+",  # Anthropic
    r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,250}+",  # OpenAI, OpenRouter
    r"gh[pousr]_[A-Za-z0-9]{30,255}+|github_pat_[A-Za-z0-9_]{22,255}+",
    r"gl(?:pat|ptt|dt|rt|cbt|ft|soat)-[A-Za-z0-9_-]{20,60}+",
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA)[A-Z2-7]{16}",  # AWS
    r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,400}+|GOCSPX-[A-Za-z0-9_-]{28}",  # Google
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}+|xapp-[A-Za-z0-9-]{10,250}+",  # Slack
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,250}+|whsec_[A-Za-z0-9+/=]{20,100}+",  # Stripe
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",  # SendGrid
    r"npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,250}+|dckr_pat_[A-Za-z0-9_-]{20,40}+",
    r"hf_[A-Za-z0-9]{30,40}+|gsk_[A-Za-z0-9]{40,60}+|r8_[A-Za-z0-9]{37}|xai-[A-Za-z0-9]{60,100}+",
    r"do[opr]_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}|hv[sbr]\.[A-Za-z0-9_-]{20,200}+",
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|lin_api_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{40,50}+",
    r"ATATT3[A-Za-z0-9_=-]{50,250}+|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}+|EAA[A-Za-z0-9]{80,250}+",
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,70}+",
    r"\d{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"(?:SK|AC)[0-9a-f]{32}|key-[0-9a-z]{32}|[0-9a-f]{32}-us\d{1,2}",  # Twilio, Mailgun, Mailchimp
    r"xprv[1-9A-HJ-NP-Za-km-z]{107}",
)
_NAMES = (
    r"pass[_ -]?(?:word|wd|phrase|code)|pwd|pw|passwort|kennwort|zugangscode|"
    r"mot[_ -]de[_ -]passe|mdp|contrase(?:ñ|n|gn)a|clave(?:[_ -]secreta)?|secreto|geheimnis|"
    r"secret|token|jeton|api[_ -]?key|apikey|access[_ -]?key|secret[_ -]?key|private[_ -]?key|"
    r"account[_ -]?key|auth[_ -]?key|client[_ -]?secret|credentials?|schl(?:ü|ue)ssel|cl(?:é|"
    r"e)[_ -]api"
)
_LABEL = rf"(?<![^\W_])(?i:(?:[a-z0-9]{{1,20}}[_.-]){{0,3}}(?:{_NAMES}))(?:[_-]?\d)?(?![^\W\d_])"
_VALUE = r"(?P<it>[^\s\"'`]{4,512}+)"
_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,.\-]{0,8192}+")
_PLACEHOLDER = re.compile(
    r"(?i)(?:none|null|nil|true|false|required|optional|str(?:ing)?|text|int|bool|bytes|undefined|"
    r"todo|changeme|redacted|hidden|secret|password|passwort|token|[x*.•_-]{3,}|"
    r"(?:os|process|self|config|settings|env|request|args)\.[\w.\[\]]{1,80}|\$\w{1,80}|%\w{1,40}%?|"
    r"[\w.]{1,80}\((?:.{0,400}\))?|<.{0,200}|\{.{0,200}|your[-_ ]?\w{0,40}|https?:.{0,500}|"
    r"[=:!].{0,500})[.!?]?"
)


def entropy(text: str) -> float:
    """Return the bits a character of it carries, by how often each occurs."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values()) if text else 0.0


def _password(value: str) -> bool:
    return _PLACEHOLDER.fullmatch(value) is None and any(c.isalnum() for c in value)


def _told(value: str) -> bool:
    """Return whether it is a password named in a sentence: a word of prose is none."""
    plain = value.rstrip(".!?")
    mixed = any(c.isdigit() or not c.isalnum() for c in plain) or not (
        plain.islower() or plain.istitle()
    )
    return len(plain) >= 5 and mixed and _password(plain)


def _bearer(value: str) -> bool:
    return any(c.isdigit() for c in value) and entropy(value) > 2.8


RULES = (
    Rule(
        "vendor-key",
        Kind.SECRET,
        re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_VENDORS)})(?![A-Za-z0-9])"),
        CERTAIN,
    ),
    Rule(
        "jwt",
        Kind.SECRET,
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{8,8192}+"
            r"(?:\.[A-Za-z0-9_-]{0,2048}+){0,3}"
        ),
        CERTAIN,
    ),
    Rule(
        "connection-string",
        Kind.SECRET,
        re.compile(
            r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}+://"
            r"[^\s:@/\"'<>]{0,128}+:[^\s@/\"'<>]{1,256}+@[^\s\"'<>`]{1,512}+"
        ),
        CERTAIN,
    ),
    Rule(
        "webhook",
        Kind.SECRET,
        re.compile(
            r"https://(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/"
            r"webhooks|[a-z0-9-]{1,60}\.webhook\.office\.com)/[\w/@.-]{8,300}+"
        ),
        CERTAIN,
    ),
    Rule(
        "signature",
        Kind.SECRET,
        re.compile(
            r"(?:[?&;]|(?<![\w]))(?i:sig|signature|access_token|accountkey|sharedaccesskey|"
            r"x-amz-signature)=(?P<it>[A-Za-z0-9%+/=_.~-]{16,400}+)"
        ),
        CERTAIN,
    ),
    Rule(
        "bearer",
        Kind.SECRET,
        re.compile(
            r"(?<!\w)(?i:bearer|basic|authorization:\s{0,3}token|x-api-key:)\s{1,3}"
            r"(?P<it>[A-Za-z0-9._~+/=-]{12,4096}+)"
        ),
        SURE,
        _bearer,
    ),
    Rule(
        "password",
        Kind.SECRET,
        re.compile(
            rf"{_LABEL}[\\\"'*`]{{0,3}}\s{{0,3}}(?:[:=]|=>|"
            rf":=)\s{{0,3}}[\\\"'*`]{{0,3}}{_VALUE}"
        ),
        SURE,
        _password,
    ),
    Rule(
        "password-told",
        Kind.SECRET,
        re.compile(
            rf"{_LABEL}\s{{1,2}}(?:[^\s.:=]{{1,12}}\s){{0,2}}"
            rf"(?i:is|was|ist|war|lautet|est|es|era|--?)\s{{1,2}}[\"'`]?{_VALUE}"
        ),
        SURE,
        _told,
    ),
    Rule(
        "password-option",
        Kind.SECRET,
        re.compile(rf"(?<!\S)--?(?i:{_NAMES})[ =]\"?{_VALUE}"),
        SURE,
        _told,
    ),
    Rule(
        "pin",
        Kind.SECRET,
        re.compile(
            r"(?<!\w)(?i:pin|puk|tan|cvv2?|cvc2?|otp|2fa|passcode|code secret)(?!\w)"
            r"[^\d\n]{0,14}?(?<!\d)(?P<it>\d{3,8})(?![\d.,-]*\d|\w)"
        ),
        LIKELY,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield secrets."""
    yield from _pem(text)
    for found in apply(RULES, text):
        yield _trimmed(found, text) if found.source.startswith("password") else found


def _trimmed(found: Finding, text: str) -> Finding:
    """Return a value without the punctuation of what it stands in."""
    end = found.end
    while end > found.start + 4 and text[end - 1] in ",;)}]>\\":
        end -= 1
    return replace(found, end=end)


def _pem(text: str) -> Iterator[Finding]:
    """Yield private keys from their BEGIN to their END, or as far as the body goes."""
    done = 0
    for match in _PEM.finditer(text):
        if match.start() < done:
            continue
        body = _PEM_BODY.match(text, match.end())
        done = body.end() if body else match.end()
        end = text.find("-----END", match.end(), done + 8)
        if end >= 0:
            tail = text.find("-----", end + 8, end + 80)
            done = tail + 5 if tail >= 0 else end + 8
        yield Finding(match.start(), done, Kind.SECRET, 1.0, "private-key")

"""Stand-ins of what reaches somebody: mail, web and postal addresses, phones, user names, IPs.

Hosts end in ``.example`` (RFC 2606), IP addresses are of the documentation ranges (RFC 5737, RFC
3849), hardware addresses of RFC 7042 §2.1.2, phone numbers of what regulators keep for fiction in
the United States, the United Kingdom, Germany and France; where there is none, such as in Spain,
the number is random and may be somebody's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import unquote

from privity.infer.pseudonyms.coined import coined
from privity.infer.pseudonyms.familiar import candidates, language_of
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.numbers import bounds, digits_like, lay
from privity.infer.pseudonyms.pair import Fit, Pair
from privity.infer.pseudonyms.table import Hit, apart
from privity.policy.sensitive import Kind

__all__ = ["email", "hardware_or_ip", "host", "phone", "postal_address", "url", "username"]

_NATIONAL = {"+49": "0", "+44": "0", "+33": "0", "+34": "", "+1": "", "+43": "0", "+41": "0"}
_FICTION = {
    # ARCEP, Bundesnetzagentur, Ofcom: numbers for use in drama. National, without the first 0.
    "+33": ("19900", "26191", "35301", "46571", "53649", "63998"),
    "+49": ("3023125", "6990009", "4066969", "2214710", "8999998"),
    "+44": ("1632960", "2079460", "7700900", "1134960", "1214960"),
    "+1": ("55501",),
}
_STREET_ENDS = (
    "straße strasse str weg platz allee gasse ring ufer damm steig chaussee markt graben hof"
).split()
_STREET_WORDS = frozenset(
    "street st road rd avenue ave lane ln drive dr court ct boulevard blvd way place pl square sq "
    "terrace close crescent gardens row hill highway hwy parkway apt apartment suite ste unit "
    "flat floor "
    "rue route chemin impasse allée quai cours bis ter étage calle c av avda avenida plaza "
    "paseo camino "
    "carrer ronda travesía piso puerta n nº no am im an der den dem die das auf in zum zur "
    "bei de la le "
    "les du des del los las el y of the p.o po box postfach".split()
)
_DECODINGS = 3
"""As often as an address is decoded that was encoded more than once."""
_TOKENS = re.compile(r"[^\W\d_]+|\d+|.", re.DOTALL)


def email(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return a mail address of the stand-ins of its words, at a host under ``.example``."""
    known = place.find(Fit.EXACT, text)
    if known is not None:
        return known.stand_in
    local, at, domain = text.partition("@")
    if not at:
        found = re.fullmatch(r"(\S+)(\s*[\[(]?\s*(?:at|@)\s*[\])]?\s*)(.+)", text, re.IGNORECASE)
        local, at, domain = (found[1], found[2], found[3]) if found else (text, "", "")
    end = at + (host(domain, place) if domain else "")
    made = place.distinct(text, lambda more: _handle(local, place, more) + end)
    made = made.lower() if text.islower() else made
    return place.add(Pair(text, made, kind, Fit.EXACT)).stand_in


def host(name: str, place: ConversationMap) -> str:
    """Return a host under ``.example`` that stands for another, always the same one."""
    known = place.find(Fit.EXACT, name)
    if known is None:
        # Without its end: that is in every text which names another such host.
        made = place.fresh(word.lower() for word in coined("host", "", place.pick)) + ".example"
        known = place.add(Pair(name, made, Kind.URL, Fit.EXACT))
    return known.stand_in


def url(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return an address with another host; its path stays where nothing personal is in it."""
    known = place.find(Fit.EXACT, text)
    if known is not None:
        return known.stand_in
    found = re.fullmatch(
        r"([A-Za-z][\w+.-]*:/{0,3})?(?:[^/@?#]*@)?([^/?#:]+)(:\d+)?(.*)", text, re.S
    )
    if found is None or "." not in found[2]:
        words = (word.lower() for word in coined("word", "", place.pick))
        return place.add(Pair(text, place.fresh(words), kind, Fit.EXACT)).stand_in
    scheme, name, port, rest = found[1] or "", found[2], found[3] or "", found[4]
    hidden = "@" in text[: found.start(4)] or _tells(rest, place)
    if hidden:
        rest = "/" + place.fresh(word.lower() for word in coined("word", "", place.pick))
    made = scheme + host(name, place) + port + rest
    if hidden:  # otherwise host for host is the whole of it
        place.add(Pair(text, made, kind, Fit.EXACT))
    return made


def phone(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return a number for fiction where there are such, grouped as the original is."""
    begin, end = bounds(text)
    number = text[begin:end]
    known = place.find(Fit.COMPACT, number)
    if known is None:
        made = place.fresh(_phones(number, place))
        known = place.add(Pair(number, made, kind, Fit.COMPACT))
        _national(number, made, kind, place)
    stood = known.stand_in
    if number != known.original and apart(number) == number:
        stood = apart(stood)
    return text[:begin] + stood + text[end:]


def postal_address(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return an address with other names and numbers; words such as street and rue stay."""
    known = place.find(Fit.EXACT, text)
    if known is not None:
        return known.stand_in
    parts = _TOKENS.findall(text)
    made = place.distinct(text, lambda more: "".join(_address_part(p, place, more) for p in parts))
    pair = place.add(Pair(text, made, kind, Fit.EXACT))
    _turned(text, made, kind, place)
    return pair.stand_in


def username(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return a user name of the stand-ins of its words, or a coined one."""
    known = place.find(Fit.EXACT, text)
    if known is not None:
        return known.stand_in
    body = text.lstrip("@")
    made = place.distinct(text, lambda more: body and _handle(body, place, more))
    made = text[: len(text) - len(body)] + made
    return place.add(Pair(text, made, kind, Fit.EXACT)).stand_in


def hardware_or_ip(kind: Kind, text: str, place: ConversationMap) -> str:
    """Return an address of the documentation ranges."""
    known = place.find(Fit.EXACT, text)
    if known is None:
        made = place.fresh(_addresses(text, place))
        known = place.add(Pair(text, made, kind, Fit.EXACT))
    return known.stand_in


def _handle(local: str, place: ConversationMap, more: int) -> str:
    """Return the stand-in of what stands before an ``@``: of its words where all are names."""
    parts = _TOKENS.findall(local)
    names = [place.find(Fit.WORD, part) for part in parts if part[0].isalpha()]
    if names and all(name is not None for name in names):
        left = iter(names)
        made = ""
        for part in parts:
            name = next(left) if part[0].isalpha() else None
            made += name.stand_in.lower() if name is not None else digits_like(part, place.pick)
        return made + "".join(str(place.pick(10)) for _ in range(more))
    digits = "".join(part for part in parts if part[0].isdigit())
    words = coined("word", "", place.pick)
    made = place.fresh(word.lower() for word in words) + digits_like(digits, place.pick)
    return made if local.islower() or not local[:1].isupper() else made.capitalize()


def _tells(rest: str, place: ConversationMap) -> bool:
    """Tell whether the path or query of an address may be about somebody."""
    for _ in range(_DECODINGS):  # a name with marks on its letters is percent-encoded there
        if re.search(r"\d{4}|[\w-]{20}|@", rest) or _known(rest, place):
            return True
        rest = unquote(rest)
    return False


def _known(rest: str, place: ConversationMap) -> bool:
    table, at = place.forward(), 0
    while found := table.start.search(rest, at):
        at = found.start()
        if isinstance(table.match(rest, at, rest[at - 1] if at else "", final=True), Hit):
            return True
        at += 1
    return False


def _phones(text: str, place: ConversationMap) -> Iterator[str]:
    digits = apart(text)
    code, begin = "", 0
    for known in _NATIONAL:
        if digits.startswith(known) or digits.startswith("00" + known[1:]):
            code, begin = known, len(known) + (1 if digits.startswith("00") else 0)
    guess = code or {"de": "+49", "fr": "+33", "en": "+1"}.get(place.language, "")
    if not code and digits.startswith("0"):
        begin = 1
        guess = "+44" if guess == "+1" else guess
    if re.fullmatch(r"\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}", text):
        guess, begin = "+1", 0
    choices = _FICTION.get(guess, ())
    for turn in range(10_000_000):
        rest = digits[begin:]
        if choices and len(rest) >= 8:
            chosen = choices[place.pick(len(choices))]
            if guess == "+1":
                chosen = digits_like("222", place.pick) + chosen
            size = max(len(rest) - len(chosen), 2) + turn // 64
            rest = chosen + "".join(str(place.pick(10)) for _ in range(size))
        else:
            rest = digits_like(rest, place.pick, more=turn // 64)
        yield _lay_phone(digits[:begin] + rest, text)


def _lay_phone(digits: str, form: str) -> str:
    return ("+" if form.lstrip().startswith("+") else "") + lay(
        digits.lstrip("+"), form.replace("+", "", 1)
    )


def _national(text: str, made: str, kind: Kind, place: ConversationMap) -> None:
    """Note a number with a country's code also as it is written inside of that country."""
    one, other = apart(text), apart(made)
    for code, trunk in _NATIONAL.items():
        if one.startswith(code) and other.startswith(code):
            pair = Pair(trunk + one[len(code) :], trunk + other[len(code) :], kind, Fit.COMPACT)
            place.add(pair)
            place.add(Pair("00" + one[1:], "00" + other[1:], kind, Fit.COMPACT))
            # As a number in JSON, which has no plus.
            place.add(Pair(one[1:], other[1:], kind, Fit.COMPACT))


def _address_part(part: str, place: ConversationMap, more: int) -> str:
    if part.isdigit():
        made = part
        while made == part:
            made = digits_like(part, place.pick, more=more)
        return made
    small = part.lower()
    if not part[0].isalpha() or small in _STREET_WORDS or small in _STREET_ENDS:
        return part
    if len(part) == 1:
        return digits_like(part, place.pick)
    end = next((e for e in _STREET_ENDS if small.endswith(e) and len(small) > len(e) + 1), "")
    found = place.find(Fit.WORD, part)
    if found is None:
        spoken = language_of(part) or place.language
        stem = place.fresh(candidates("street", "", spoken, place.pick))
        spelled = stem + part[len(part) - len(end) :] if end else stem
        spelled = spelled.upper() if part.isupper() else spelled
        found = place.add(Pair(part, spelled, Kind.ADDRESS, Fit.WORD, shy=True))
    return found.stand_in


def _turned(text: str, made: str, kind: Kind, place: ConversationMap) -> None:
    """Note a street and its number also the other way round, and with other punctuation."""
    one = re.fullmatch(r"(\D+?)[,\s]+(\d+\w?)|(\d+\w?)[,\s]+(\D+)", text.strip())
    other = re.fullmatch(r"(\D+?)[,\s]+(\d+\w?)|(\d+\w?)[,\s]+(\D+)", made.strip())
    if one is None or other is None:
        return
    street, number = one[1] or one[4], one[2] or one[3]
    stood, count = other[1] or other[4], other[2] or other[3]
    for form in ("{0} {1}", "{1} {0}", "{0}, {1}", "{1}, {0}", "{0} Nr. {1}", "{0} No. {1}"):
        place.add(Pair(form.format(street, number), form.format(stood, count), kind, Fit.EXACT))


def _addresses(text: str, place: ConversationMap) -> Iterator[str]:
    bare, slash, size = text.partition("/")
    for turn in range(10_000_000):
        low = place.pick(256)
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", bare):
            begin = (
                "00005E0053"
                if turn < 64
                else "02" + "".join(f"{place.pick(256):02X}" for _ in range(4))
            )
            made = lay(begin + f"{low:02X}", bare)
            yield made.lower() if bare.islower() else made
        elif _version(bare) == 6:
            yield (
                str(ipaddress.IPv6Address((0x20010DB8 << 96) | place.pick(1 << 64))) + slash + size
            )
        elif _version(bare) == 4 and turn < 256:
            begin = ("192.0.2", "198.51.100", "203.0.113")[place.pick(3)]
            yield f"{begin}.{1 + place.pick(254)}{slash}{size}"
        elif _version(bare) == 4:  # all 762 are taken: class E, which nobody has
            yield (
                ".".join(str(v) for v in (240 + place.pick(15), place.pick(256), low, 1))
                + slash
                + size
            )
        else:
            yield digits_like(text, place.pick, more=turn // 64)


def _version(text: str) -> int:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0

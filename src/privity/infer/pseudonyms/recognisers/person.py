"""Persons by what people write around a name: a title, a greeting, a label, "my name is"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_UP = "A-ZÀ-ÖØ-Þ"
_ONE = rf"[{_UP}][a-zà-öø-ÿß]{{1,30}}(?:['\u2019-][{_UP}]?[a-zà-öø-ÿß]{{1,30}}){{0,2}}"
_LINK = r"(?:von |van |de |del |de la |da |di |du |le |zu |der |den |dos |y |bin |al )?"
_FULL = rf"{_ONE}(?: [{_UP}]\.)?(?: {_LINK}{_LINK}{_ONE}){{0,3}}"
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Herr|Herrn|Frau|Fr|Hr|Dipl|M|Mme|Mlle|Monsieur|"
    r"Madame|"
    r"Mademoiselle|Me|Señora?|Señorita|Sra?|Srta|Don|Doña|D|Dña|señora?|monsieur|madame)"
)
_INNER = r"(?:(?:Dr|Prof|med|rer|nat|h\.c|Ing|Dipl)\.?(?: |-)?){0,3}"
_HELLO = (
    r"(?:Hi|Hello|Hey|Dear|Hallo|Liebe[rs]?|Lieber|Moin|Servus|Bonjour|Salut|Ch[eè]re?|"
    r"Coucou|Hola|Querid[oa]|Estimad[oa])"
)
_AM = (
    r"(?:my name is|my name's|i'?m called|this is|mein name ist|ich hei(?:ß|ss)e|hier ist|"
    r"hier spricht|"
    r"je m'appelle|mon nom est|ici|me llamo|mi nombre es|soy|le habla|im namen von|on behalf of)"
)
_LABEL = (
    r"(?:(?:full|first|last|given|family|middle|customer|patient|contact)[ _-]?name|name|surname|"
    r"patient(?:in|e)?|"
    r"paciente|kunde|kundin|vorname|nachname|familienname|nom(?: de famille)?|pr[ée]nom|nombre|"
    r"apellidos?|"
    r"contact|kontakt|contacto|client|cliente|customer|claimant|kl[äa]ger(?:in)?|demandeur|"
    r"demandante)"
)
_BYE = (
    r"thanks|thank you|cheers|(?:kind |best |warm )?regards|best(?: wishes)?|"
    r"sincerely(?: yours)?|yours|love|"
    r"danke|gr(?:u|ü)(?:ß|ss)e?n?|merci|cordialement|amiti[ée]s|bises|bien à vous|gracias|"
    r"saludos?|(?:un )?abrazo|"
    r"atentamente|ciao"
)
_WRITTEN = (
    r"(?:letters?|e-?mails?|mail|messages?|reply|note|answer|Brief|E-Mail|Mail|Nachricht|Antwort|"
    r"lettre|courriel|courrier|r[ée]ponse|carta|correo|mensaje|respuesta) "
    r"(?:to|from|for|an|von|f[üu]r|[àa]|de|pour|para)"
)
RULES = (
    Rule(
        "written-to",
        Kind.PERSON,
        re.compile(rf"(?<!\w)(?i:{_WRITTEN}) (?P<it>{_ONE}(?: {_LINK}{_ONE}){{1,3}})"),
        0.55,
    ),
    Rule("titled", Kind.PERSON, re.compile(rf"(?<!\w){_TITLE}\.? {_INNER}(?P<it>{_FULL})"), 0.8),
    Rule(
        "greeted",
        Kind.PERSON,
        re.compile(
            rf"(?<!\w){_HELLO} (?!{_TITLE}\b)(?P<it>{_ONE}(?: {_ONE})?)(?=\s{{0,2}}[,!.:"
            rf"\n]|$)"
        ),
        0.7,
    ),
    Rule("introduced", Kind.PERSON, re.compile(rf"(?<!\w)(?i:{_AM}) (?P<it>{_FULL})"), 0.7),
    Rule(
        "labelled-name",
        Kind.PERSON,
        re.compile(
            rf"(?<![^\W_])(?i:{_LABEL})[\"'*]{{0,2}}\s{{0,2}}[:=]\s{{0,2}}[\"'*]{{0,2}}("
            rf"?P<it>{_FULL})"
        ),
        0.7,
    ),
    Rule(
        "signed",
        Kind.PERSON,
        re.compile(
            rf"(?<!\w)(?i:{_BYE})[,.!]?\s{{1,3}}(?P<it>{_FULL})(?=\s{{0,2}}$)", re.MULTILINE
        ),
        0.75,
    ),
    Rule(
        "before-address",
        Kind.PERSON,
        re.compile(
            rf"(?<!\w)(?P<it>{_ONE}(?: {_LINK}{_ONE}){{1,3}})(?=[\"']? ?[<(][\w.+-]{{1,6"
            rf"4}}@)"
        ),
        0.8,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield persons."""
    return apply(RULES, text)

"""Streets with their numbers, and post codes, as English, German, French and Spanish write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import LIKELY, SURE, Rule, apply, labelled
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_UP = "A-ZÀ-ÖØ-Þ"
_WORD = rf"[{_UP}][\w'\u2019.-]{{0,30}}"
_LINKS = (
    r"(?:of|the|and|de|du|des|d'|la|le|les|l'|el|los|las|del|y|et|der|dem|den|am|an|im|zum|"
    r"zur|von|van)"
)
_NAME = rf"{_WORD}(?: (?:{_LINKS} ?)?{_WORD}){{0,4}}"
_AFTER = rf"(?:{_LINKS} ?){{0,3}}{_WORD}(?:[ -](?:{_LINKS} ?){{0,2}}{_WORD}){{0,3}}"
_NUMBER = r"\d{1,5}(?:\s?[a-zA-Z](?![\w]))?(?:\s?[-/]\s?\d{1,4}[a-z]?)?"
_EN = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|"
    r"Sq|Terrace|"
    r"Way|Close|Crescent|Cres|Gardens|Grove|Row|Mews|Hill|Parkway|Pkwy|Highway|Hwy|Circle|Cir|"
    r"Trail|Alley|Walk)"
)
_UNIT = (
    r"(?:,?\s{1,2}(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|No|Studio|Piso|Puerta|"
    r"Esc|Apto|Whg|OG|EG|"
    r"[ÉEé]tage|B[âa]t|App(?:artement)?|Esc)\.?\s?#?\w{1,6}(?!\w))"
)
_DE = (
    r"(?:stra(?:ß|ss)e|str\.|weg|allee|platz|gasse|ring|ufer|damm|chaussee|steig|stieg|pfad|"
    r"graben|markt|"
    r"zeile|hof|berg|brücke|wall|park)"
)
_DE_WORD = r"(?:Stra(?:ß|ss)e|Str\.|Weg|Allee|Platz|Gasse|Ring|Ufer|Damm|Chaussee|Markt)"
_FR = (
    r"(?:rue|avenue|av\.|boulevard|bd|bld|place|pl\.|chemin|impasse|all[ée]es?|quai|route|"
    r"cours|square|passage|villa|r[ée]sidence|faubourg)"
)
_ES = (
    r"(?:calle|c/|c\.|avenida|avda\.?|av\.|plaza|pza\.?|paseo|p[ºo]|ronda|camino|carretera|"
    r"ctra\.?|traves[íi]a|"
    r"glorieta|v[íi]a|pasaje|rambla|cuesta|callej[óo]n|urbanizaci[óo]n|alameda|pasadizo|"
    r"c[úu]esta|acceso)"
)
RULES = (
    Rule(
        "street-en",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w.,/-])\d{{1,6}}[A-Za-z]?(?:-\d{{1,5}})? (?:(?:N|S|E|W|NE|NW|SE|SW|"
            rf"North|South|East|West)\.? )?"
            rf"{_NAME} {_EN}(?!\w)\.?{_UNIT}?"
        ),
        SURE,
    ),
    Rule(
        "flat-en",
        Kind.ADDRESS,
        re.compile(
            rf"(?<!\w)(?:Flat|Studio|Apartment|Apt\.?|Unit|Suite) \d{{1,5}}\w?[, \n]{{1,3}}"
            rf"(?:\d{{1,5}}\w? )?(?:{_WORD} ){{1,3}}(?i:{_EN}s?)(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "flat-alone",
        Kind.ADDRESS,
        re.compile(
            r"(?<!\w)(?:Flat|Studio|Apt\.?|Apartment|Suite) (?:No\.? )?\d{1,5}[A-Za-z]?(?"
            r"!\w)"
        ),
        LIKELY,
    ),
    Rule(
        "street-with-flat",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w.,/-])\d{{1,6}} (?:{_WORD} ){{1,4}}(?:Apt|Suite|Ste|"
            rf"Unit)\.? #?\d{{1,5}}\w?(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "po-box",
        Kind.ADDRESS,
        re.compile(
            r"(?<!\w)(?:(?i:p\.? ?o\.? ?box|postfach|bo[îi]te postale|"
            r"apartado(?: de correos)?|b\.?p\.?) \d{1,8}|"
            r"(?:PSC|CMR|Unit) \d{1,5},? Box \d{1,5}|(?:USNS|USNV|USCGC|"
            r"USS) [A-Z][a-z]{1,20})(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "street-de",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w-])(?:[{_UP}][\w.]{{1,30}}+[ -"
            rf"]){{0,3}}[{_UP}]\w{{1,40}}{_DE} {_NUMBER}(?!\w|,\d)"
        ),
        SURE,
    ),
    Rule(
        "street-de-words",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w-])(?:[{_UP}][\w'\u2019.]{{0,30}}+[ -]){{1,3}}{_DE_WORD} {_NUMBER}(?!\w|"
            rf",\d)"
        ),
        SURE,
    ),
    Rule(
        "street-de-preposition",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w-])(?:Am|An der|An den|Auf dem|Auf der|Im|In der|In den|Zum|Zur|"
            rf"Unter den|Hinter der|Beim)"
            rf" {_WORD}(?: {_WORD})? {_NUMBER}(?!\w|,\d|\.\d| (?:Uhr|Jahr|Prozent|Euro|"
            rf"Tag|Stunde|Minute))"
        ),
        LIKELY,
    ),
    Rule(
        "street-fr",
        Kind.ADDRESS,
        re.compile(
            rf"(?<![\w.,/-])(?:\d{{1,5}}(?: ?(?:bis|ter|quater|"
            rf"[A-D]))?,? )(?i:{_FR}) {_AFTER}"
        ),
        SURE,
    ),
    Rule(
        "street-fr-bare",
        Kind.ADDRESS,
        re.compile(
            rf"(?<!\w)(?i:rue|boulevard|chemin|impasse|avenue) (?:de |du |des |d'|de la |"
            rf"de l')?{_AFTER}"
        ),
        LIKELY,
    ),
    Rule(
        "street-es",
        Kind.ADDRESS,
        re.compile(
            rf"(?<!\w)(?i:{_ES}) ?{_AFTER},? (?:n[ºo°]\.? ?|n[úu]m\.? ?)?{_NUMBER}"
            r"(?:,? (?:\d{1,2}\s?[ºª°]\s?(?:[A-Za-z]|izda|dcha|izq|der)?\.?|(?:Piso|"
            r"Puerta|Apt|Esc)\.? ?\w{1,4}))?(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "postcode-uk",
        Kind.POSTCODE,
        re.compile(
            r"(?<![\w-])(?:GIR ?0AA|[A-PR-UWYZ](?:\d{1,2}|[A-HK-Y]\d{1,2}|\d[A-HJKPSTUW]|"
            r"[A-HK-Y]\d[ABEHMNPRV-Y])"
            r" \d[ABD-HJLNP-UW-Z]{2})(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "postcode-us",
        Kind.POSTCODE,
        re.compile(
            r"(?<!\w)(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|"
            r"N[CDEHJMVY]|O[HKR]|PA|RI|"
            r"S[CD]|T[NX]|UT|V[AT]|W[AIVY])\.? (?P<it>\d{5}(?:-\d{4})?)(?!\w)"
        ),
        SURE,
    ),
    Rule("postcode-plus4", Kind.POSTCODE, re.compile(r"(?<![\w.-])\d{5}-\d{4}(?![\w-])"), LIKELY),
    Rule(
        "postcode-before-town",
        Kind.POSTCODE,
        re.compile(
            rf"(?<![\w.,#/€$£:-])(?<!\d )(?:(?:D|F|E|A|CH|DE|FR|"
            rf"ES)-)?(?P<it>\d{{5}})(?= {_WORD})(?! (?:Euro|EUR|Dollar|USD))"
        ),
        0.6,
    ),
    Rule(
        "town-after-postcode",
        Kind.PLACE,
        re.compile(rf"(?<![\w.,#/€$£:-])\d{{5}},? (?P<it>{_AFTER})"),
        0.6,
    ),
    Rule(
        "town-labelled",
        Kind.PLACE,
        re.compile(
            rf"(?<![^\W_])(?i:city|town|birthplace|ort|stadt|wohnort|geburtsort|ville|"
            rf"commune|ciudad|localidad|municipio)"
            rf"[\"'*]{{0,2}}\s{{0,2}}[:=]\s{{0,2}}[\"'*]{{0,2}}(?P<it>{_AFTER})"
        ),
        SURE,
    ),
    Rule(
        "postcode-labelled",
        Kind.POSTCODE,
        labelled(
            r"zip(?:[ _-]?code)?|post(?:al)?[ _-]?code|plz|postleitzahl|code[ _-]postal|cp|"
            r"c[óo]digo[ _-]postal",
            r"[A-Z0-9]{2,5}[ -]?[A-Z0-9]{2,4}",
            gap=10,
        ),
        SURE,
        lambda text: any(c.isdigit() for c in text),
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield streets and post codes."""
    return apply(RULES, text)

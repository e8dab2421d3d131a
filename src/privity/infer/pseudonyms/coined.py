"""Words that stand for organisations, hosts and user names: coined, so that no answer has them.

Names of persons and places are coined only where the lists of `privity.infer.pseudonyms.familiar`
have no more. A stand-in that is an everyday word would come up by itself in an answer, and be taken
for the person's. So a name here is put together from a stem and an ending that look
like a name of their language and are, together, hardly one: of 30,000 frequent word pieces of the
world's languages none is in reach (tests/unit/test_pseudonym_coined.py looks). They are plain
ASCII, so that nothing on the way spells them differently. There is no end of them: where the lists
run out, syllables are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

__all__ = ["EVERYDAY", "Pick", "coined", "guess_language"]

Pick = Callable[[int], int]
"""Returns a number below its argument, as `secrets.randbelow` does."""

# Given names fit any gender as far as their form tells.
_GIVEN = (
    "Avrel Belwin Brisel Calwen Ceryn Corvel Davrin Delwyn Ebrin Elvary Emryl Evrin Farlyn Felwen "
    "Gavrel Halwyn Ilvery Irwel Jorvin Javrel Kelbrin Kervyn Lanwel Lirven Lovrin Marvyl Melbrin "
    "Mirwel Navrin Nelwyn Norvel Olbrin Orwenn Pelwin Quilven Ravryn Relwin Rivrel Sanvry Selwenn "
    "Sorvyn Talwyn Tervin Tolbrin Ulwenn Ulvrin Valbry Velwin Virnel Wenvry Wilbryn Yavrin Yorwel "
    "Zelbrin Zorvel"
).split()
_SURNAMES = MappingProxyType(
    {
        "en": (
            "Ather Brem Crad Dunk Elvers Fenth Gorr Hulm Keth Lorb Mardl Neth Oxen Pelb Quarn Rudl "
            "Scarb Thral Umber Welth",
            "combe wick low stow ham worthy ders kins",
        ),
        "de": (
            "Adel Brack Dorn Elz Fenk Grab Hark Imm Jolt Krom Lind Mohr Nerz Ost Quad Riet Sall "
            "Trab Urb Wend",
            "hager winkler brecht manns hofer bekk haus mahr",
        ),
        "fr": (
            "Aub Berg Chamb Dorm Esp Fontr Garr Hauv Jaubr Lavr Marc Nerv Orb Pervr Quer Rouv Sauv "
            "Tervr Valbr Vernh",
            "eraud illac andel onvil ossart inaud ignac avent",
        ),
        "es": (
            "Arb Balm Cerv Dorm Elg Font Galv Herm Izt Lurb Marm Nav Orm Palv Quirr Rebl Salv "
            "Tordm Urr Valm",
            "aldeg arrend ontav oredan uriag anzu erond avarr",
        ),
    }
)
_SYLLABLES = (
    "bal bren cor dav del dor fel gar gre hal kel kor lav len lor mar mel mor nav nor pel quil rav "
    "ren sal sel tar tor val vel ver vin wen yor zan zel"
).split()
_ENDS = MappingProxyType(
    {
        "place": "stedt bruck minster haven dorp wold quay grave",
        "organisation": "tronix dyne matic vanta logic plex form corra",
        "street": "broek stein mark field acre holt",
        "word": "dran bex quor zim vask trell",
    }
)
_FUNCTION_WORDS = MappingProxyType(
    {
        "de": frozenset("der die das und ist nicht ich mit ein eine für von den dem auf".split()),
        "fr": frozenset("le la les des et est une pour dans je vous avec sur pas du".split()),
        "es": frozenset("el los las y es una para con por que se no del su en".split()),
        "en": frozenset("the and is of to a in for with on that you are be my".split()),
    }
)

EVERYDAY = frozenset(
    (
        # Names that are also words, in four languages: in small letters they are words.
        "will mark may rose grace hope june april august jack bill frank art rich grant chase "
        "hunter "
        "summer autumn dawn joy faith iris ivy lily daisy violet pearl ruby amber jade carol "
        "ray drew "
        "pat rob bob sue dean guy victor angel king young long short brown black white green "
        "gray grey "
        "cook baker smith miller taylor turner parker carter walker fisher mason page price "
        "rice wood "
        "woods stone hill field fields banks bush ford lane park west north south east day "
        "week winter "
        "snow frost rain love good best bell ball case cross fox wolf lamb swan bird fish "
        "ward clay "
        "gross klein lang kurz braun schwarz weiss weiß grün roth koch bauer fischer "
        "schneider müller "
        "weber richter kaiser könig vogel wolf fuchs berg bach wald stein sommer herbst stark frei "
        "jung alt neu ernst ehrlich petit grand blanc brun noir roux rose marine pierre "
        "france marin "
        "boulanger fleur aimé juste clément constant prudent blanco cruz flores rojo moreno rubio "
        "delgado bueno mayor cruz rey reina paz luz mar sol ángel leal santos iglesias campos "
        "prado "
        "said bank data test name user mail main home web office group service center centre "
        "global "
        "first apple target visa meta delta alpha amazon shell orange subway gap state national "
        "general union allianz post bahn sparkasse"
    ).split()
)


def guess_language(text: str) -> str:
    """Return the language, of four, whose function words a text has most of; English at a tie."""
    words = text[:4000].casefold().split()
    counts = {code: sum(word in known for word in words) for code, known in _FUNCTION_WORDS.items()}
    best = max(counts, key=lambda code: (counts[code], code == "en"))
    return best


def coined(what: str, language: str, pick: Pick) -> Iterator[str]:
    """Yield candidates without end: ``given``, ``surname``, ``place``, ``organisation`` and so on.

    Args:
        what: of which sort; unknown ones are plain words.
        language: whose looks a surname has.
        pick: the source of randomness; the choice says nothing about the original.
    """
    for turn in range(10_000_000):
        yield _one(what, language, pick, 1 + turn // 24)


def _one(what: str, language: str, pick: Pick, more: int) -> str:
    if what == "given" and more == 1:
        return _of(_GIVEN, pick)
    if what in ("given", "surname") and more <= 3:
        stems, ends = _SURNAMES.get(language, _SURNAMES["en"])
        if what == "given":
            return _of(_SYLLABLES, pick).capitalize() + _of(_SYLLABLES, pick) + "yn"
        return _of(stems.split(), pick) + _of(ends.split(), pick)
    count = more if what == "place" else 1 + more
    syllables = "".join(_of(_SYLLABLES, pick) for _ in range(count))
    ends = _ENDS.get(what, _ENDS["word"])
    return syllables.capitalize() + _of(ends.split(), pick)


def _of(choices: Sequence[str], pick: Pick) -> str:
    return choices[pick(len(choices))]

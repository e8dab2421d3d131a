"""Words that models take for names and that are none: labels, titles, days, and what one is asked.

They count only where a model alone said so: what the person named, and what a pattern knows, stays.
"""

from __future__ import annotations

import re

__all__ = ["named_part"]

_WORD = re.compile(r"\w(?:[\w'\u2019.-]{0,40}\w)?")
_START = re.compile(r"(?:(?:^|\n)[ \t]{0,8}(?:[-•]|\d{1,2}[.)])?|[.!?:;…>*#(\"“«¡¿])[ \t]{0,4}$")
_LOOK_BACK = 16

_LABELS = frozenset(
    # identifiers
    "iban bic swift ssn itin ein nhs nino ni vat vatin ust ust-idnr ust-id ustid idnr ust-id-nr "
    "steuer-id steuer-idnr steuernummer steuernr svnr sv-nummer kvnr kv-nummer krankenkasse mrn "
    "nir siret siren tva nif nie dni cif cuit cups curp rfc insee iso id ids no nr nº blz rib ccc "
    "pin puk tan cvv cvc otp npi dea dob dl vin isbn imei mac ip url uri uuid guid sku po "
    # headings of fields and columns
    "name names nom nombre vorname nachname familienname surname prénom apellido apellidos role "
    "rolle rôle rol start begin beginn début inicio ende end e-mail email mail courriel correo "
    "phone telephone tel telefon téléphone teléfono handy mobil mobile fax address adresse "
    "anschrift dirección ort stadt city ville ciudad plz postcode zip date datum fecha "
    "geburtsdatum birthday passport pass reisepass ausweis personalausweis passeport pasaporte "
    "licence license führerschein permis account konto compte cuenta card karte carte tarjeta "
    "kreditkarte kontonummer number nummer numéro numero número patient patientin paciente "
    "customer kunde kundin client cliente diagnosis diagnose diagnostic diagnóstico anamnese "
    "therapie befund invoice rechnung facture factura order bestellung commande pedido betreff "
    "subject objet asunto password passwort contraseña user username login token key "
    # titles and greetings
    "mr mrs ms miss dr prof herr frau hr fr sir madam madame monsieur mme mlle señor señora sr sra "
    "dear hi hello hey hallo liebe lieber liebes bonjour salut hola estimado estimada cher chère "
    # articles and possessives before one of these
    "the a an my your his her our their der die das dein deine mein meine ihre ihr unser unsere "
    "le la les un une mon ma mes votre vos notre nos el los las mi mis su sus tu ton ta "
    # days, and the words of computing
    "monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch donnerstag "
    "freitag samstag sonntag lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes "
    "miércoles jueves viernes sábado domingo python java javascript typescript rust docker linux "
    "json html css sql api pdf csv excel google github markdown".split()
)
_LAST = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch donnerstag "
    "freitag samstag sonntag lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes "
    "miércoles jueves viernes sábado domingo python java javascript typescript rust docker linux "
    "json html css sql api url pdf csv excel google github".split()
)
"""Whatever ends in one of these is no name either: "next Friday"."""
_ASKED = frozenset(
    # English; no verb that is a name too, such as Mark, Bill, Grant or Sue
    "draft write translate summarise summarize rewrite explain create generate make give list find "
    "check correct fix improve edit proofread compare analyse analyze describe compose prepare "
    "suggest help tell show reply respond answer review extract convert calculate compute classify "
    "outline propose paraphrase rephrase shorten send turn format reformat add remove replace use "
    "remind schedule read call please let identify evaluate debug implement refactor "
    "schreib schreibe schreiben übersetze übersetzen fasse fass erkläre erklär erstelle erstellen "
    "formuliere entwirf verfasse verfassen prüfe überprüfe korrigiere verbessere kürze gib nenne "
    "hilf mach mache such suche finde berechne liste vergleiche analysiere beantworte antworte "
    "lies zeige zeig ruf rufe melde bereite entwerfe erzeuge ergänze bitte könntest kannst "
    "rédige rédigez traduis traduisez écris écrivez résume résumez corrige corrigez explique "
    "expliquez donne donnez prépare préparez analysez aide aidez trouve trouvez vérifie vérifiez "
    "réponds répondez crée créez reformule reformulez fais faites calcule montre peux pouvez "
    "améliore relis relisez liste listez "
    "escribe escriba redacta redacte traduce traduzca resume resuma corrija explica dame "
    "prepara prepare compara analiza ayuda ayúdame busca encuentra comprueba revisa responde crea "
    "haz calcula enumera muestra propón genera mejora puedes podrías".split()
)


def named_part(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the part of a stretch that may be a name: without a verb that begins a sentence.

    Args:
        text: what it stands in.
        start: where a model says that a name begins.
        end: where it says that the name ends.

    Returns:
        Its borders, or None where nothing in it is a name.
    """
    words = [(m.start(), m.end(), m.group().casefold()) for m in _WORD.finditer(text, start, end)]
    asked = (
        bool(words)
        and words[0][2] in _ASKED
        and _START.search(text, max(0, start - _LOOK_BACK), start) is not None
    )
    if asked:
        words = words[1:]
        if not any(text[first].isupper() or text[first].isdigit() for first, _, _ in words):
            return None
    if not words or words[-1][2] in _LAST or all(said in _LABELS for _, _, said in words):
        return None
    return (words[0][0] if asked else start), end

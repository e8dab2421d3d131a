"""A floor for what the detector finds: labelled pieces in four languages, with the real models.

The pieces are ours, written for this test, none of them from the sets of bench/detection.py; what
is between guillemets is personal, of whatever kind. It counts as found where at least half of its
letters and digits are covered. The bench measures; this only notices a fall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from privity.errors import MissingDependency
from privity.infer.pseudonyms.detector import load_detector
from privity.infer.pseudonyms.finding import Detector

FLOOR = 0.97
"""Of all labelled stretches together."""
EACH = 0.93
"""Of those of one language."""
JOINED = 0.88
"""Of those of one language where all its pieces are one text: their neighbours distract."""
WRONG = 0.03
"""Findings that touch nothing labelled, of all findings; at most."""

PIECES = {
    "en": """
My name is «Harriet Colebrook» and I was born on «14 March 1979» in «Leeds».
my name is «anna schmidt» and i live in «bristol»
hi, it's «tom fairweather», call me on «+44 20 7946 0018» tonight
Draft a letter to «Margaret Osgood» about the broken boiler.
Please send the refund to «GB29 NWBK 6016 1331 9268 19», account holder «Desmond Achebe».
Her SSN is «219-09-9999» and her passport number is «533380006».
The password is «Blue-Harbour-72!» and the login is «dachebe».
Ship it to «742 Evergreen Terrace», «Springfield», «97403».
Summarise this: «Rosalind Pike» met «Owen Tasker» at «Hartwell & Sons Ltd» on Tuesday.
From: «Priya Raman» <«priya.raman@hartwell.example»>
Mrs «Okonkwo» complained that the nurse had lost her file.
NHS number: «943 476 5919», patient «Colin Drury».
The server at «10.20.30.41» logged in «carla.benn@mail.example» twice.
Dear Mr «Whitcombe»,\\nthank you for your letter.\\nKind regards,\\n«Elspeth Moir»
export OPENAI_API_KEY=«sk-proj-4f9aQ2xL7vT0bN8mR3kW6yZ1»
Card «4111 1111 1111 1111», expires soon, name «Felix Armitage».
""",
    "de": """
Ich heiße «Friederike Lohmann» und wohne in «Kassel».
ich bin «jonas petersen» aus «kiel», meine nummer ist «0431 5553217»
Schreibe einen Brief an «Gerlinde Hofstetter» wegen der Heizung.
Bitte überweisen Sie auf «DE89 3704 0044 0532 0130 00», Kontoinhaber «Ulrich Sandner».
Meine Steuer-ID ist «86095742719».
Das Passwort lautet «Apfelbaum_93».
Anschrift: «Lindenallee 27», «34117» «Kassel»
Frau «Bergmüller» hat am «3. Mai 2021» gekündigt.
Fasse zusammen: «Henrike Voss» traf «Matthias Kühn» bei der «Nordlicht Logistik GmbH».
Von: «Sabine Thoma» <«s.thoma@nordlicht.example»>
Der Patient «Egon Riedel», geboren am «12.08.1954», klagt über Kopfschmerzen.
Liebe «Annegret»,\\ndanke für deine Nachricht.\\nViele Grüße\\n«Wolfram Seidel»
Ruf mich unter «+49 170 5551234» an.
Der Kollege «Tobias Brandl» sitzt jetzt in «München».
USt-IdNr. «DE136695976», Ansprechpartnerin «Cornelia Ziegler»
Sehr geehrter Herr Dr. «Pfannenstiel», anbei die Unterlagen.
""",
    "fr": """
Je m'appelle «Mathilde Garnier» et j'habite à «Nantes».
Rédige une lettre à «Marie Dupont» au sujet du loyer.
Mon numéro est le «06 39 98 12 34», appelez après 18 h.
Merci de virer la somme sur «FR14 2004 1010 0505 0001 3M02 606», titulaire «Étienne Roussel».
Mon mot de passe est «Tournesol-48».
Adresse : «18 rue des Lilas», «44000» «Nantes»
Madame «Lefebvre» est née le «23 juin 1968».
De : «Camille Aubert» <«camille.aubert@exemple.example»>
Le patient «Gérard Pommier», né le «02/11/1949», se plaint du dos.
Chère «Solène»,\\nmerci pour ton message.\\nCordialement,\\n«Baptiste Renaud»
Traduis cette réponse de «Jean Moreau» en anglais.
Monsieur «Thibault Marchand» travaille chez «Boulangerie Marchand SARL».
J'ai rencontré «Aurélie Fontaine» à «Lyon» la semaine dernière.
Mon numéro de sécurité sociale est «2 55 08 14 168 025 38».
bonjour, je suis «lucie bernard» et je cherche un appartement à «toulouse»
Le serveur «192.0.2.77» refuse la connexion de «paul.girard@exemple.example».
""",
    "es": """
Me llamo «Beatriz Olmedo» y vivo en «Zaragoza».
Escribe una carta a «Joaquín Herrera» sobre el alquiler.
Mi teléfono es «+34 612 34 56 78», llámame luego.
Transfiere el dinero a «ES91 2100 0418 4502 0005 1332», titular «Rocío Santana».
Mi DNI es «12345678Z».
La contraseña es «Girasol_2020».
Dirección: «Calle del Olivo 14», «50001» «Zaragoza»
La señora «Villanueva» nació el «7 de octubre de 1961».
De: «Íñigo Salcedo» <«i.salcedo@ejemplo.example»>
El paciente «Ramón Cifuentes», nacido el «19/04/1950», tiene fiebre.
Hola «Lucía»,\\ngracias por tu mensaje.\\nUn abrazo,\\n«Andrés Pascual»
Resume este correo de «Juan García» en dos frases.
Trabajo con «Pilar Montero» en «Talleres Montero S.L.».
hola, soy «carmen vidal» y busco piso en «valencia»
El servidor «198.51.100.9» rechaza a «nuria.costa@ejemplo.example».
Don «Emilio Barrios» llamó ayer desde «Sevilla».
""",
}


@pytest.fixture(scope="module")
def real() -> Detector:
    try:
        return load_detector()
    except MissingDependency as error:
        pytest.skip(f"the models are not installed: {error}")


def pieces(language: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield each text of a language without its marks, and where what was marked stands."""
    for line in PIECES[language].strip().splitlines():
        text, spans = "", []
        for place, part in enumerate(re.split("[«»]", line.replace("\\n", "\n"))):
            if place % 2:
                spans.append((len(text), len(text) + len(part)))
            text += part
        yield text, spans


def test_recall_does_not_fall(real: Detector) -> None:
    missed: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    wrong, all_findings = [], 0
    for language in PIECES:
        missed[language], counts[language] = [], 0
        for text, spans in pieces(language):
            found = real.find(text)
            covered = {i for f in found for i in range(f.start, f.end)}
            for start, end in spans:
                letters = [i for i in range(start, end) if text[i].isalnum()]
                counts[language] += 1
                if 2 * sum(i in covered for i in letters) < len(letters):
                    missed[language].append(text[start:end])
            all_findings += len(found)
            wrong += [
                text[f.start : f.end]
                for f in found
                if not any(f.start < end and start < f.end for start, end in spans)
            ]
    total = sum(counts.values())
    assert total > 100
    assert sum(map(len, missed.values())) <= (1 - FLOOR) * total, missed
    for language, count in counts.items():
        assert len(missed[language]) <= (1 - EACH) * count, (language, missed[language])
    assert len(wrong) <= WRONG * all_findings, wrong


def test_a_long_text_is_searched_as_well_as_its_pieces(real: Detector) -> None:
    """Windows and passages end where sentences do, so what stands around changes little."""
    for language in PIECES:
        whole = "\n\n".join(text for text, _ in pieces(language))
        covered = {i for f in real.find(whole) for i in range(f.start, f.end)}
        at, missed, total = 0, [], 0
        for text, spans in pieces(language):
            for start, end in spans:
                total += 1
                letters = [i for i in range(at + start, at + end) if whole[i].isalnum()]
                if 2 * sum(i in covered for i in letters) < len(letters):
                    missed.append(text[start:end])
            at += len(text) + 2
        assert len(missed) <= (1 - JOINED) * total, (language, missed)

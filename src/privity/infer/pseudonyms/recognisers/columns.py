"""Tables: a column whose heading says what is in it, in comma-separated text or Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.policy.sensitive import Kind

__all__ = ["recognise"]

_LINE = re.compile(r"[^\n]{1,2000}")
_HEADINGS = {
    kind: frozenset(words.split(","))
    for kind, words in {
        Kind.PERSON: "name,full name,first name,last name,surname,given name,patient,customer,k"
        "unde,"
        "vorname,nachname,nom,prénom,prenom,nombre,apellido,apellidos,cliente,client,paciente,"
        "mitarbeiter,employee,employé,empleado,firstname,lastname",
        Kind.PLACE: "city,town,ort,stadt,wohnort,ville,ciudad,localidad,geburtsort,birthplace",
        Kind.ADDRESS: "address,street,adresse,anschrift,straße,strasse,rue,dirección,direccion,c"
        "alle",
        Kind.USERNAME: "user,username,login,benutzer,benutzername,utilisateur,identifiant,usuario",
        Kind.ORGANISATION: "company,employer,organisation,organization,firma,arbeitgeber,société,"
        "entreprise,empresa",
        Kind.SECRET: "password,passwort,mot de passe,contraseña,api key,token,secret",
    }.items()
}
_SCORE = 0.7


def recognise(text: str) -> Iterator[Finding]:
    """Yield the cells under such a heading, down to the first line of another shape."""
    kinds: dict[int, Kind] = {}
    mark, count, last = "", 0, -2
    for line in _LINE.finditer(text):
        joined = line.start() == last + 1
        last = line.end()
        if not joined or not mark or line.group().count(mark) != count:
            kinds, mark, count = _heading(line.group())
            continue
        for place, (start, end) in enumerate(_cells(text, line.start(), line.end(), mark)):
            cell = text[start:end]
            if place in kinds and len(cell) > 1 and any(c.isalnum() for c in cell):
                yield Finding(start, end, kinds[place], _SCORE, "column")


def _heading(line: str) -> tuple[dict[int, Kind], str, int]:
    """Return which columns a heading names, its separator and how many of it there are."""
    for mark in "|;\t,":
        count = line.count(mark)
        names = [name.strip(" \"'*").casefold().replace("_", " ") for name in line.split(mark)]
        kinds = {
            place: kind
            for place, name in enumerate(names)
            for kind, known in _HEADINGS.items()
            if name in known
        }
        if count and kinds and max(map(len, names)) < 40:
            return kinds, mark, count
    return {}, "", 0


def _cells(text: str, start: int, end: int, mark: str) -> Iterator[tuple[int, int]]:
    """Yield where the cells of a line stand, without spaces and quotes around them."""
    while start <= end:
        border = text.find(mark, start, end)
        stop = end if border < 0 else border
        left, right = start, stop
        while left < right and text[left] in " \"'*":
            left += 1
        while right > left and text[right - 1] in " \"'*":
            right -= 1
        yield left, right
        start = stop + 1

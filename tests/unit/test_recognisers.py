"""What each recogniser takes for personal data, and what it leaves alone."""

from __future__ import annotations

import pytest

from privity.infer.pseudonyms.finding import merge
from privity.infer.pseudonyms.ordinary import named_part
from privity.infer.pseudonyms.recognisers import recognise
from privity.policy.sensitive import Kind

FOUND = [
    # secrets
    (Kind.SECRET, "use [sk-ant-api03-Zm9vYmFyYmF6cXV4Zm9v] for it"),
    (Kind.SECRET, "OPENAI=[sk-proj-abcdefghijklmnopqrstuvwx12345]"),
    (Kind.SECRET, "token [ghp_abcdefghijklmnopqrstuvwxyz0123456789]."),
    (Kind.SECRET, "aws [AKIAIOSFODNN7EXAMPLE] in the log"),
    (Kind.SECRET, "[eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl]"),
    (Kind.SECRET, "DATABASE_URL=[postgres://app:s3cr3t@db.example:5432/app]"),
    (Kind.SECRET, "password: [hunter22]"),
    (Kind.SECRET, '{"client_secret": "[a8F!x,9(zz]"}'),
    (Kind.SECRET, "password: [Tv_(nRzw^2c9]"),
    (Kind.SECRET, "Passwort = [Sommer2024!]"),
    (Kind.SECRET, "mot de passe : [azerty12]"),
    (Kind.SECRET, "contraseña: [gato-negro]"),
    (Kind.SECRET, "my password is [Tr0ub4dor&3]"),
    (Kind.SECRET, "Authorization: Bearer [0123456789abcdef0123456789abcdef]"),
    (Kind.SECRET, "my card's PIN is [4821]"),
    (Kind.SECRET, "https://x.blob.core.windows.net/a?sv=2020&sig=[abcdefghij0123456789%2Fxyz]"),
    # bank
    (Kind.BANK_ACCOUNT, "pay to [DE89 3704 0044 0532 0130 00] BY Friday"),
    (Kind.BANK_ACCOUNT, "iban [gb82west12345698765432]"),
    (Kind.BANK_ACCOUNT, "with a typing error: [DE89 3704 0044 0532 0130 01]"),
    (Kind.BANK_ACCOUNT, "BIC: [COBADEFFXXX]"),
    (Kind.BANK_ACCOUNT, "account number [12345678]"),
    (Kind.BANK_ACCOUNT, "routing [021000021]"),
    (Kind.CARD, "card [4111 1111 1111 1111] please"),
    (Kind.CARD, "[5500-0000-0000-0004]"),
    # national and health identifiers
    (Kind.NATIONAL_ID, "SSN [536-90-4399]"),
    (Kind.NATIONAL_ID, "NI [AB 12 34 56 C]"),
    (Kind.NATIONAL_ID, "Steuer-ID [86095742719]"),
    (Kind.NATIONAL_ID, "SV-Nummer [65 170839 J 003]"),
    (Kind.NATIONAL_ID, "NIR [2 55 08 14 168 025 38]"),
    (Kind.NATIONAL_ID, "mi DNI es [12345678Z]"),
    (Kind.NATIONAL_ID, "NIE [X1234567L]"),
    (Kind.NATIONAL_ID, "[RSSMRA85T10A562S]"),
    (Kind.HEALTH_ID, "NHS [943 476 5919]"),
    (Kind.HEALTH_ID, "KVNR [A123456780]"),
    (Kind.HEALTH_ID, "MRN [00482911]"),
    (Kind.PASSPORT, "passport number [C01X00T47]"),
    (Kind.DRIVING_LICENCE, "[MORGA657054SM9IJ]"),
    # contact
    (Kind.EMAIL, "write to [anna.schmidt+news@mail.example.org]."),
    (Kind.EMAIL, "[anna (at) example (dot) org]"),
    (Kind.EMAIL, "[anna at example dot org]"),
    (Kind.URL, "see [https://example.org/u/anna?x=1]."),
    (Kind.IP, "from [203.0.113.7] today"),
    (Kind.IP, "host [2001:db8::7334] up"),
    (Kind.IP, "mac [00:1b:44:11:3a:b7]"),
    (Kind.USERNAME, "user=[kthomas] src"),
    (Kind.USERNAME, "thanks [@kthomas_81]!"),
    (Kind.USERNAME, "in /home/[kthomas]/notes.txt"),
    (Kind.PHONE, "call [+49 30 901820]"),
    (Kind.PHONE, "Tel. [030 901820]"),
    (Kind.PHONE, "call me: [(212) 555-2368]"),
    (Kind.PHONE, "au [06 12 34 56 78]"),
    # dates, addresses, vehicles, wallets
    (Kind.DATE, "born [4 May 1980]"),
    (Kind.DATE, "geb. [12.03.1954]"),
    (Kind.DATE, "née le [3 août 1971]"),
    (Kind.DATE, "nacida el [3 de agosto de 1971]"),
    (Kind.DATE, "on [1980-05-04]"),
    (Kind.ADDRESS, "at [12 Baker Street] now"),
    (Kind.ADDRESS, "in der [Hauptstraße 5a]"),
    (Kind.ADDRESS, "au [5 rue de la Paix]"),
    (Kind.ADDRESS, "en [Calle de Alcalá 23]"),
    (Kind.POSTCODE, "London [NW1 6XE]"),
    (Kind.POSTCODE, "Albany, NY [12207]"),
    (Kind.VEHICLE, "VIN [1M8GDM9AXKP042788]"),
    (Kind.VEHICLE, "Kennzeichen [B-MW 1234]"),
    (Kind.VEHICLE, "plaque [AB-123-CD]"),
    (Kind.WALLET, "send to [0x52908400098527886E0F7030069857D2E4169EE7]"),
    (Kind.WALLET, "[1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa]"),
    (Kind.WALLET, "[bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4]"),
    # persons and organisations by what stands around them
    (Kind.PERSON, "Sehr geehrte Frau [Vogel],"),
    (Kind.PERSON, "my name is [Ada Vogel]"),
    (Kind.ORGANISATION, "bei der [Vogel Maschinenbau GmbH]"),
    (Kind.PERSON, "id,name\n7,[Vogel]"),
    # words
    (Kind.HEALTH, "he has [type 2 diabetes]".replace("[type 2 diabetes]", "type 2 [diabetes]")),
    (Kind.HEALTH, "die [Diabetespatientin]"),
    (Kind.HEALTH, "elle souffre d'[épilepsie]"),
    (Kind.HEALTH, "toma [sertralina]"),
    (Kind.HEALTH, "Diagnose [F32.1]"),
    (Kind.BELIEF, "we are [Muslims]"),
    (Kind.BELIEF, "in der [Gewerkschaft]"),
    (Kind.PERSON, "une lettre à [Marie Dupont] demain"),
    (Kind.PERSON, "ein Brief an [Karl von Weber]"),
]
LEFT = [
    "The year 2024 had 366 days; see section 4.17.2 and table 12.",
    "password: required",
    "password = getpass()",
    "api_key = os.environ['KEY']",
    "def token(self) -> str: ...",
    "4111 1111 1111 1112 is not a card",
    "order 86095742718 shipped",
    "version 1.2.3 at 12:30:45",
    "31.02.",
    "x = a[1] @ b",
    "@dataclass\nclass A: pass",
    "http status 404, 12 items, 250 euros",
    "a stroking motion; the patient reader; the party was great",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "ratio 3:4, score 10-12, range 100-200",
]


@pytest.mark.parametrize(
    ("marked", "name"),
    [
        ("[IBAN] DE89", None),
        ("[Your SSN]", None),
        ("[next Friday]", None),
        ("[Draft] a letter", None),
        ("Thanks. [Fasse] dies", None),
        ("- [Rédige] une", None),
        ("[Draft Karl Weber] a letter", "Karl Weber"),
        ("with [Draft Weber]", "Draft Weber"),
        ("[Passport Weber]", "Passport Weber"),
        ("[Mark Weber] left", "Mark Weber"),
    ],
)
def test_words_that_models_mistake_are_no_names(marked: str, name: str | None) -> None:
    start, end = marked.index("["), marked.index("]") - 1
    text = marked.replace("[", "").replace("]", "")
    part = named_part(text, start, end)
    assert (None if part is None else text[slice(*part)]) == name


@pytest.mark.parametrize(("kind", "marked"), FOUND)
def test_it_is_found(kind: Kind, marked: str) -> None:
    """The brackets mark what has to be found, to the character."""
    start, end = marked.index("["), marked.index("]") - 1
    text = marked.replace("[", "", 1).replace("]", "", 1)
    found = [(one.kind, text[one.start : one.end]) for one in merge(recognise(text))]
    assert (kind, text[start:end]) in found, found


@pytest.mark.parametrize("text", LEFT)
def test_it_is_left_alone(text: str) -> None:
    """Numbers, code and words that only look like personal data."""
    assert [(one.kind, text[one.start : one.end]) for one in merge(recognise(text))] == []


@pytest.mark.parametrize("marked", [m for _, m in FOUND if any(c.isdigit() for c in m)][:30])
def test_a_finding_does_not_show_its_text(marked: str) -> None:
    """A finding can be logged: it has places and kinds, never what stands there."""
    text = marked.replace("[", "").replace("]", "")
    for one in recognise(text):
        said = text[one.start : one.end]
        if len(said) > 4:
            assert said not in repr(one)

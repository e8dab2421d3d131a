"""Every TOML block and every setting that a page writes is one that its reader takes."""

from __future__ import annotations

import inspect
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from native import needs_native
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import DESK_VOCABULARY
from privity.attest.log.note import Algorithm, NoteKey
from privity.errors import InputError
from privity.hazmat.native import have_native
from privity.identity.keys import SigningKey
from privity.infer import config as configuration
from privity.infer.config import load_config
from privity.infer.peers import read_network
from privity.infer.providers.profile import load_profile
from privity.ledger.accounts import load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.wire import check_address
from privity.node.payments import load_payments
from privity.policy import Policy, TermsPolicy
from privity.policy.evidence import EvidencePolicy

TREE = Path(__file__).parents[2]
PAGES = sorted((TREE / "README.md", *TREE.glob("docs/**/*.md"), *TREE.glob("spec/*.md")))

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`(\w+ = [^`\n]+)`")
KEY = re.compile(r'"([\w./-]+)\+…(?:\+…)?"')  # a verifier key, cut short
ANONYMOUS = {
    *("ledger", "contracts", "provider", "proxy", "isolate", "confirmations"),
    *("tokenizers", "prover", "prover_fallback"),
}
TABLES = {
    "anonymous": ANONYMOUS,
    "trust": {"signers", "manifests", "witnesses", "dev_roots", "max_age"},
    "seal": {"records", "cadence_ms", "pace", "delay_ms"},
    "device": {"port", "allowed_origins", "engine"},
    "routing": {"order", "fallback"},
    "pseudonyms": {"vocabulary", "keep"},
}
LISTS = {"provider", "engine", "alias", "enclave", "log"}
OF_PROVIDERS = {"agreement", "whole", "api_version", "key_env"}


def blocks(text: str) -> Iterator[str]:
    """Yield the TOML blocks of a page, verifier keys that it cuts short made whole."""
    for block in BLOCK.findall(text):
        yield KEY.sub(_whole_key, block)


def _whole_key(cut: re.Match[str]) -> str:
    algorithm = Algorithm.ED25519 if cut[1].startswith("log") else Algorithm.COSIGNATURE
    return f'"{NoteKey.of(cut[1], algorithm, SigningKey(bytes(32))).vkey}"'


def as_document(line: str) -> str:
    """Return a setting that a sentence names as a document of the table it belongs to."""
    key = line.partition(" ")[0]
    tables = {
        "evidence": EvidencePolicy().to_table().keys(),
        "terms": TermsPolicy().to_table().keys(),
        **TABLES,
    }
    for table, keys in tables.items():
        if key in keys:
            return f"[{table}]\n{line}"
    if key in OF_PROVIDERS:
        return f'[[provider]]\nname = "openai"\n{line}'
    return line


def read(block: str, home: Path) -> None:
    """Read a block as what it is: a profile, an enclave's payment, the configuration, a policy."""
    table = tomllib.loads(block)
    if "speaks" in table:
        (home / "profile.toml").write_text(block)
        load_profile(str(home / "profile.toml"))
    elif table.keys() >= {"key", "store", "scope"}:
        read_payments(block, home)
    elif "extends" not in table and table.keys() & {"policy", *TABLES, *LISTS}:
        (home / "config.toml").write_text(block)
        load_config(home)
    else:
        Policy.parse(block)


def read_payments(block: str, home: Path) -> None:
    """Read how an enclave is paid, the files that it names beside it."""
    if not have_native("Act"):  # no issuer's key can be made here
        return
    address = check_address("0x" + "11" * 20)
    addresses = Addresses(1, 1, address, address, address, address)
    (home / "contracts.json").write_bytes(addresses.to_bytes())
    load_or_create_account(home / "operator.key")
    (home / "query.json").write_bytes(QueryTerms(DESK_VOCABULARY).to_bytes())
    (home / "payments.toml").write_text(block)
    load_payments(home / "payments.toml")


def faults(text: str, home: Path) -> Iterator[str]:
    """Yield what the readers say against a page."""
    lines = SPAN.findall(BLOCK.sub("", text))
    for document in (*blocks(text), *map(as_document, lines)):
        try:
            read(document, home)
        except (InputError, tomllib.TOMLDecodeError) as error:
            yield str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_what_a_page_writes_can_be_read(page: Path, tmp_path: Path) -> None:
    assert list(faults(page.read_text(), tmp_path)) == []


def test_blocks_and_settings_are_found_on_the_pages() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(list(blocks(text))) >= text.count("```toml") >= 7
    assert SPAN.search(text)


PAID = """\
key   = "issuer.key"
store = "sqlite:spent.db"
scope = "0x1111111111111111111111111111111111111111"
[ledger]
url       = "http://127.0.0.1:8545"
contracts = "contracts.json"
account   = "operator.key"
"""
BLOCKED = "```toml\n{}\n```\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('with `reference = "required"`', ""),
        ("with `reference = true`", "evidence.reference"),
        ("with `refrence = true`", "refrence"),
        ("with `cadence_ms = -1`", "cadence_ms"),
        ('with `policy = "…"`', ""),
        (BLOCKED.format("[evidence]\nlog = false"), "evidence.log"),
        (BLOCKED.format('[trust]\nsigner = ["did:key:z6Mk…"]'), "signer"),
        (BLOCKED.format('[trust]\n[[log]]\nkey = "log.example/2026+…+…"'), ""),
        (BLOCKED.format('[trust]\n[[log]]\nkey = "log.example/2026"'), "verifier key"),
        (BLOCKED.format("[trust"), "line 1"),
        (BLOCKED.format(PAID), ""),
        pytest.param(BLOCKED.format(PAID + "tarif = 1"), "tarif", marks=needs_native),
    ],
)
def test_a_wrong_setting_is_found(text: str, wrong: str, tmp_path: Path) -> None:
    found = list(faults(text, tmp_path))
    assert len(found) == bool(wrong), found
    assert wrong in "".join(found)


# Where a table is somebody's own: there is no default of it to state.
EXAMPLES = {
    "anonymous": ANONYMOUS,
    "trust": {"signers", "manifests", "witnesses", "dev_roots"},
    "routing": {"default", "budget"},
    "pseudonyms": {"vocabulary"},
}


def in_the_docstring() -> dict[str, Any]:
    """Return the settings that the docstring of config.py writes."""
    block = inspect.getdoc(configuration).partition("::\n\n")[2]  # type: ignore[union-attr]
    lines = [line for line in block.splitlines() if not line or line.startswith("    ")]
    return tomllib.loads(textwrap.dedent("\n".join(lines)))


def on_the_page() -> dict[str, Any]:
    """Return the settings that the page on the configuration writes."""
    page = (TREE / "docs" / "how-to" / "configuration.md").read_text()
    return tomllib.loads("\n".join(BLOCK.findall(page)))


def stated(table: dict[str, Any]) -> dict[str, Any]:
    """Return what is stated as a default."""
    return {
        name: {key: one for key, one in value.items() if key not in EXAMPLES.get(name, ())}
        if isinstance(value, dict)
        else value
        for name, value in table.items()
        if not isinstance(value, list)
    }


@pytest.mark.parametrize("read", [in_the_docstring, on_the_page])
def test_the_defaults_that_are_stated_are_the_defaults(read: Callable[[], dict[str, Any]]) -> None:
    table = stated(read())
    assert table.keys() >= {"policy", "trust", "seal", "device", "routing", "pseudonyms"}
    assert configuration._parse(table, None) == configuration._parse({}, None)
    assert table["trust"] and table["seal"] and table["device"]


# What of the public ledger is a person's own.
OF_THE_LEDGER = {"ledger", "contracts", "provider", "proxy", "prover"}


@pytest.mark.parametrize("read", [in_the_docstring, on_the_page])
def test_the_defaults_of_the_anonymous_route_are_the_defaults(
    read: Callable[[], dict[str, Any]],
) -> None:
    table = read()["anonymous"]
    assert table.keys() == ANONYMOUS
    needed = {key: table[key] for key in ("ledger", "contracts")}
    rest = {key: one for key, one in table.items() if key not in OF_THE_LEDGER}
    assert read_network(needed | rest) == read_network(needed)


def test_what_an_absent_provider_means_is_said_alike() -> None:
    """`test_nobody_is_asked_that_was_not_chosen` holds the registry to it."""
    page = (TREE / "docs" / "how-to" / "configuration.md").read_text()
    said = [
        re.findall(r'^ *provider += "0x…" +# (its account; absent: .*)$', text, re.MULTILINE)
        for text in (page, inspect.getdoc(configuration) or "")
    ]
    assert said == [["its account; absent: the only one that lists gateways"]] * 2


def known_in(table: str, home: Path) -> set[str]:
    """Return the keys of a table, from what is said of one that nobody knows."""
    (home / "config.toml").write_text(f"{table}\nunheard_of = 1")
    with pytest.raises(InputError) as error:
        load_config(home)
    return set(error.value.hint.rpartition("known: ")[2].split(", "))


def test_the_docstring_names_every_table_and_every_key(tmp_path: Path) -> None:
    text, table = configuration.__doc__ or "", in_the_docstring()
    assert known_in("", tmp_path) == table.keys()
    for name, value in table.items():
        if name != "policy":
            head = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            for key in known_in(head, tmp_path):
                assert re.search(rf"\b{key}\b", text), (name, key)
    assert known_in("[routing.budget]", tmp_path) == table["routing"]["budget"].keys()

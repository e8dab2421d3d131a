"""Floor 2: a disclosure in plain words, the same in tables, refusals, logs and receipt lists.

The words are chosen so that they never flatter: a party that nothing stops *could read*, even
where it says that it does not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View

__all__ = [
    "ASSET_HEADINGS",
    "DEV",
    "NOTHING_WORD",
    "SEEN",
    "WEAKEST_FIRST",
    "asset_name",
    "basis_words",
    "ceiling_words",
    "cell_sentence",
    "cell_word",
    "failure_words",
    "grounds_words",
    "party_name",
    "printable",
    "shown",
    "shows_dev",
    "summarise",
    "weakest_first",
]

_FAILURES = {
    "CloseError": "the connection broke",
    "ConnectError": "no connection to it can be made",
    "ConnectTimeout": "no connection to it came in time",
    "LocalProtocolError": "it cannot be asked by HTTP like this",
    "PoolTimeout": "no connection was free in time",
    "ProxyError": "the proxy did not connect",
    "ReadError": "the connection broke",
    "ReadTimeout": "no answer came in time",
    "RemoteProtocolError": "what came is not HTTP, or broke off",
    "UnsupportedProtocol": "its address is no http or https URL",
    "WriteError": "the connection broke",
    "WriteTimeout": "it took nothing in time",
}
"""By the names of httpx's errors, which this floor does not import."""

ASSET_HEADINGS = {
    Asset.PROMPT: "prompt",
    Asset.ANSWER: "answer",
    Asset.IDENTITY: "who you are",
    Asset.ADDRESS: "from where",
    Asset.WEIGHTS: "weights",
    Asset.RECORDS: "records",
    Asset.UPDATE: "update",
    Asset.PAYMENT: "payment",
}
"""What an asset is called at the head of a column."""

NOTHING_WORD = "\N{EN DASH}"

DEV = " · dev"
"""How the label of a party ends that only plays what it stands for."""

_IN_A_SENTENCE = {
    Asset.IDENTITY: "who you are",
    Asset.ADDRESS: "your address",
}

_PARTY_NAMES = {
    Party.PERSON: "you",
    Party.DEVICE: "your device",
    Party.OBSERVER: "anyone watching",
}

_GROUND_WORDS = {
    Ground.QUORUM: "a quorum",
    Ground.PROMISE: "a promise",
}

SEEN = frozenset({Asset.IDENTITY, Asset.ADDRESS, Asset.PAYMENT})
"""What is about the person and not content: it is *seen*, where contents are *read*."""

WEAKEST_FIRST = (
    Ground.NOTHING,
    Ground.PROMISE,
    Ground.QUORUM,
    Ground.NOISE,
    Ground.HARDWARE,
    Ground.MATHEMATICS,
)
"""A reading order for people; policies never rank grounds, they accept or refuse each."""


def shows_dev(disclosure: Disclosure) -> bool:
    """Tell whether a party of a disclosure only plays what it stands for."""
    return any(label.endswith(DEV) for names in disclosure.labels.values() for label in names)


def printable(text: str) -> str:
    """Return `text` with every control, bidirectional or invisible character shown as ``�``.

    Labels and reasons can come from a receipt that somebody else wrote; a terminal must never
    obey them.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char
        for char in " ".join(text.split())
    )


def shown(text: str, most: int = 120) -> str:
    """Return a text that a peer or a caller chose as it may be shown: `printable`, and cut.

    Args:
        text: theirs.
        most: the characters that are kept of it, the last an ellipsis where it was longer.
    """
    return printable(text if len(text) <= most else text[: most - 1] + "…")


def weakest_first(basis: Iterable[Basis]) -> list[Basis]:
    """Sort so that what a reader should worry about comes first."""
    return sorted(basis, key=lambda one: (WEAKEST_FIRST.index(one.ground), one.why))


def party_name(party: Party, disclosure: Disclosure | None = None) -> str:
    """Return what to call a party: its labels in this disclosure, else its usual name."""
    labels = disclosure.labels.get(party) if disclosure else None
    named = ", ".join(filter(None, (printable(label) for label in sorted(labels or ()))))
    return named or _PARTY_NAMES.get(party, party.value)


def asset_name(asset: Asset) -> str:
    """Return what to call an asset inside a sentence."""
    return _IN_A_SENTENCE.get(asset, f"the {asset.value}")


def cell_word(asset: Asset, cell: Cell) -> str:
    """Return the one or two words of a table's cell; an empty cell is ``–``."""
    if cell.view == View.EVERYTHING:
        verb = "see" if asset in SEEN else "read"
        return f"could {verb}" if Ground.NOTHING in cell.grounds else f"{verb}s"
    parts = [] if cell.view == View.NOTHING else cell.view.text.split("+")
    parts += [printable(text) for text in sorted(cell.instead)]
    return ", ".join(parts) or NOTHING_WORD


def basis_words(basis: Basis) -> str:
    """Return one line such as ``a promise: plain software``."""
    return f"{_ground_words(basis.ground)}: {printable(basis.why)}"


def grounds_words(grounds: Iterable[Ground]) -> str:
    """Return an enumeration such as ``hardware or mathematics``; all of them are ``anything``."""
    given = set(grounds)
    if given == set(Ground):
        return "anything"
    words = [_ground_words(ground) for ground in WEAKEST_FIRST if ground in given]
    return _enumerate(words, "or") if words else "no assumption at all"


def ceiling_words(view: View, grounds: Iterable[Ground]) -> str:
    """Return what is allowed, such as ``size, resting on hardware or mathematics``."""
    return f"{view.text.replace('+', ' and ')}, resting on {grounds_words(grounds)}"


def cell_sentence(party: Party, assets: Iterable[Asset], cell: Cell) -> str:
    """Return a clause such as ``the host could read the prompt and the answer``.

    `assets` share the one cell; with what it rests on in brackets, the weakest ground first.
    """
    name = _PARTY_NAMES.get(party, f"the {party.value}")
    things = _enumerate([asset_name(asset) for asset in assets], "and")
    if cell.view == View.EVERYTHING:
        words = {cell_word(asset, cell) for asset in assets}
        verb = words.pop() if len(words) == 1 else "could learn"
        clause = f"{name} {_conjugated(verb, party)} {things}"
    elif cell.view == View.NOTHING:
        clause = f"{name} {_conjugated('learns', party)} nothing of {things}"
    else:
        what = _enumerate([f"the {facet}" for facet in cell.view.text.split("+")], "and")
        clause = f"{name} {_conjugated('learns', party)} {what} of {things}"
    if not cell.basis:
        return clause
    rests = "; ".join(basis_words(basis) for basis in weakest_first(cell.basis))
    return f"{clause} (rests on {rests})"


def summarise(disclosure: Disclosure) -> str:
    """Return one line for logs and lists: who reads, and who could.

    Speaks of the prompt and the answer; of every content, where a job has neither. Such as
    ``read by: you, enclave · dev (plain software); host could read``.
    """
    contents = [asset for asset in Asset if asset not in SEEN]
    spoken = {asset for _, asset in disclosure.cells} & {Asset.PROMPT, Asset.ANSWER}
    reads, could = [], []
    for party in disclosure.parties():
        cells = [disclosure[party, asset] for asset in spoken or contents]
        full = [cell for cell in cells if cell.view == View.EVERYTHING]
        if not full:
            continue
        name = _summary_name(party, disclosure)
        basis = frozenset[Basis]().union(*(cell.basis for cell in full))
        if any(one.ground is Ground.NOTHING for one in basis):
            could.append(name)
            continue
        why = ", ".join(printable(one.why) for one in weakest_first(basis))
        reads.append(f"{name} ({why})" if why and party not in _YOURS else name)
    line = "read by: " + (", ".join(dict.fromkeys(reads)) or "nobody")
    return f"{line}; {_enumerate(could, 'and')} could read" if could else line


_YOURS = frozenset({Party.PERSON, Party.DEVICE})


def _summary_name(party: Party, disclosure: Disclosure) -> str:
    """Return a party's name; the person and the device are both *you* in one line."""
    return "you" if party in _YOURS else party_name(party, disclosure)


def _ground_words(ground: Ground) -> str:
    return _GROUND_WORDS.get(ground, ground.value)


def _conjugated(verb: str, party: Party) -> str:
    """Return the verb as *you* take it, where the party is the person or several peers."""
    plural = party in (Party.PERSON, Party.PEERS) and not verb.startswith("could")
    return verb.removesuffix("s") if plural else verb


def _enumerate(words: list[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def failure_words(error: BaseException) -> str:
    """Return why an exchange over HTTP failed; for an error of another kind its name."""
    name = type(error).__name__
    return _FAILURES.get(name, name)

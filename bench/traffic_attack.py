"""The observer's classifier: sizes and times of what passes, and nothing else.

Two learners: extremely randomised trees over what sizes and gaps look like (their distributions,
the first of each, totals), and a linear one over the sequence of sizes: its n-grams, the same with
a gap in them, and how it begins, which remembers words by the lengths of their tokens. The observer
has the best of the two and their mean.

Judged by cross-validation in two ways: where no way of asking (template) is both learned from and
judged on, and where the same ways of asking, about other things, were learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import LinearSVC

__all__ = ["Seen", "Verdict", "attack"]

Seen = Sequence[tuple[float, int]]
"""One answer as an observer has it: seconds from its first byte, and bytes, of each read."""

_FIRST = 90  # sizes and gaps taken one by one
_QUANTILES = (0, 5, 10, 25, 50, 75, 90, 95, 100)
_GRAMS = 5
_BEGINNING = 6
_FOLDS = 6
_RESAMPLES = 300


@dataclass(frozen=True)
class Verdict:
    """How well topics are told apart.

    Attributes:
        auprc: average precision of one topic against the rest, mean over the topics, ways of
            asking not learned from.
        low: where the interval begins that holds 95 % of resamples of the ways of asking.
        high: where it ends.
        known: the same precision where the ways of asking were learned from.
        known_best: of the topic that is then told best.
        base: what guessing gets.
        roc: area under the ROC curve, mean over the topics, ways of asking not learned from.
        accuracy: of naming the topic, likewise.
    """

    auprc: float
    low: float
    high: float
    known: float
    known_best: float
    base: float
    roc: float
    accuracy: float


def attack(seen: Sequence[Seen], topics: Sequence[str], templates: Sequence[str]) -> Verdict:
    """Learn to tell the topic from what is seen, and judge that."""
    labels = np.unique(topics, return_inverse=True)[1]
    groups = np.unique(templates, return_inverse=True)[1]
    numbers = np.array([_numbers(one) for one in seen])
    words = [_words(one) for one in seen]
    apart = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=7)
    unseen = _guess(numbers, words, labels, apart.split(numbers, labels, groups))
    mixed = StratifiedKFold(_FOLDS, shuffle=True, random_state=7)
    known = _precisions(labels, _guess(numbers, words, labels, mixed.split(numbers, labels)))
    kinds = range(labels.max() + 1)
    low, high = _interval(labels, groups, unseen)
    return Verdict(
        auprc=float(np.mean(_precisions(labels, unseen))),
        low=low,
        high=high,
        known=float(np.mean(known)),
        known_best=float(max(known)),
        base=float(np.mean([np.mean(labels == kind) for kind in kinds])),
        roc=float(np.mean([roc_auc_score(labels == kind, unseen[:, kind]) for kind in kinds])),
        accuracy=float(np.mean(unseen.argmax(axis=1) == labels)),
    )


def _guess(numbers: Any, words: list[list[str]], labels: Any, folds: Any) -> Any:
    """Return the probabilities that the best of the learners gives each answer's topic."""
    shape = (len(labels), labels.max() + 1)
    by_forest, by_line = np.zeros(shape), np.zeros(shape)
    for learn, judge in folds:
        by_forest[judge] = _forest(numbers, labels, learn, judge)
        by_line[judge] = _linear(words, labels, learn, judge)
    learners = (by_forest, by_line, by_forest + by_line)
    return max(learners, key=lambda guessed: np.mean(_precisions(labels, guessed)))


def _precisions(labels: Any, guessed: Any) -> list[float]:
    kinds = range(guessed.shape[1])
    return [float(average_precision_score(labels == kind, guessed[:, kind])) for kind in kinds]


def _numbers(seen: Seen) -> Any:
    """Return what one answer looks like as numbers of a fixed count."""
    times = np.array([at for at, _ in seen])
    sizes = np.array([size for _, size in seen], dtype=float)
    gaps = np.diff(times) if len(times) > 1 else np.zeros(1)
    first = np.full(2 * _FIRST, -1.0)
    first[: min(len(sizes), _FIRST)] = sizes[:_FIRST]
    first[_FIRST : _FIRST + min(len(gaps), _FIRST)] = gaps[:_FIRST]
    usual = np.median(sizes)
    around = np.histogram(sizes - usual, bins=np.arange(-15.5, 25))[0]
    coarse = np.histogram(sizes, bins=[0, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 1 << 30])[0]
    slow = np.histogram(gaps, bins=[0, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 9])[0]
    totals = [len(sizes), sizes.sum(), times[-1], sizes.std(), gaps.std(), gaps.mean()]
    spread = [*np.percentile(sizes, _QUANTILES), *np.percentile(gaps, _QUANTILES)]
    return np.concatenate([totals, spread, around, coarse, slow, first])


def _words(seen: Seen) -> list[str]:
    """Return what the sequence of sizes is made of."""
    sizes = [str(size) for _, size in seen]
    runs = range(1, _GRAMS + 1)
    found = ["_".join(sizes[at : at + n]) for n in runs for at in range(len(sizes) - n + 1)]
    for one, two, three, four in zip(sizes, sizes[1:], sizes[2:], sizes[3:], strict=False):
        found += [f"{one}_*_{three}", f"{one}_{two}_*_{four}", f"{one}_*_{three}_{four}"]
    begins = sizes[:_BEGINNING]
    found += [f"{at}:{size}" for at, size in enumerate(begins)]
    return found + [f"{at}:{one}_{two}" for at, (one, two) in enumerate(pairwise(begins))]


def _forest(numbers: Any, labels: Any, learn: Any, judge: Any) -> Any:
    forest = ExtraTreesClassifier(400, min_samples_leaf=2, n_jobs=2, random_state=7)
    return forest.fit(numbers[learn], labels[learn]).predict_proba(numbers[judge])


def _linear(words: list[list[str]], labels: Any, learn: Any, judge: Any) -> Any:
    counts = TfidfVectorizer(analyzer=lambda found: found, min_df=2, sublinear_tf=True)
    known = counts.fit_transform([words[at] for at in learn])
    model = LinearSVC(C=1.0, random_state=7).fit(known, labels[learn])
    margins = 3 * model.decision_function(counts.transform([words[at] for at in judge]))
    odds = np.exp(margins - margins.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _interval(labels: Any, groups: Any, guessed: Any) -> tuple[float, float]:
    chance = np.random.default_rng(7)
    of_group = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    means = []
    for _ in range(_RESAMPLES):
        drawn = chance.integers(0, len(of_group), len(of_group))
        rows = np.concatenate([of_group[group] for group in drawn])
        if len(np.unique(labels[rows])) == guessed.shape[1]:
            means.append(np.mean(_precisions(labels[rows], guessed[rows])))
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)

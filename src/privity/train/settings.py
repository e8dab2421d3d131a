"""How a run goes: fixed by the owner, inside the sealed dataset.

The settings are the first line of the dataset. So they are covered by the root that the owner's
grant names: who runs the job can neither read nor change them, and gives none of their own.
"""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from privity.errors import MalformedError
from privity.identity.fields import Fields

__all__ = ["TARGETS", "Disclosed", "LoraSettings", "schema"]

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a transformer block that an adapter may change, by their usual names."""

_MAX_BASE = 128


class Disclosed(enum.StrEnum):
    """What a run may tell whoever runs it, beyond that it ended and how long it took."""

    COUNTS = "counts"
    """How many records were read and how many steps were taken."""
    LOSS = "loss"
    """The counts, and the loss of every step: a leak, see spec/private-training.md."""


@dataclass(frozen=True)
class LoraSettings:
    """The settings of one LoRA run (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: r, the rank of each update.
        alpha: the update is scaled by alpha / rank.
        targets: which of `TARGETS` it is added to; in that order, each once.
        steps: optimizer steps.
        learning_rate: the highest; it rises over the first tenth of the steps and falls to zero.
        batch: records per step.
        max_tokens: a record is cut after so many tokens.
        seed: what order and initial values are drawn from. It is no secret.
        base: root of the weights it must start from. A private run refuses settings without one:
            weights that whoever runs it made could tell of the records how they fail on them.
        disclose: what leaves beside the adapter.

    Raises:
        MalformedError: a value outside its limits.
    """

    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    steps: int = 60
    learning_rate: float = 1e-3
    batch: int = 4
    max_tokens: int = 256
    seed: int = 0
    base: str | None = None
    disclose: Disclosed = Disclosed.COUNTS

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise MalformedError(f"settings.{name} must be an integer from {least} to {most}")
        rate = self.learning_rate
        if not isinstance(rate, int | float) or not math.isfinite(rate) or not 0 < rate <= 1:
            raise MalformedError("settings.learning_rate must be more than 0 and at most 1")
        if not self.targets or tuple(one for one in TARGETS if one in self.targets) != self.targets:
            known = ", ".join(TARGETS)
            raise MalformedError(f"settings.targets must be some of {known}, in this order")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data."""
        return {**asdict(self), "targets": list(self.targets), "disclose": self.disclose.value}

    @classmethod
    def from_json(cls, data: Any) -> LoraSettings:
        """Read settings; a member left out has its default, an unknown one is refused.

        Raises:
            MalformedError: not settings.
        """
        if not isinstance(data, dict):
            raise MalformedError("settings are not a JSON object")
        read = Fields({**cls().to_json(), **data}, "settings")
        targets = read.items("targets", least=1, most=len(TARGETS))
        disclose = read.text("disclose")
        if disclose not in {one.value for one in Disclosed}:
            raise MalformedError(f"settings.disclose must be one of {', '.join(Disclosed)}")
        settings = cls(
            **{name: read.count(name, most=most) for name, (_, most) in _LIMITS.items()},
            targets=tuple(one for one in targets if isinstance(one, str)),
            learning_rate=read.take("learning_rate"),
            base=read.optional("base", lambda name: read.text(name, max_chars=_MAX_BASE)),
            disclose=Disclosed(disclose),
        )
        read.done()
        if len(settings.targets) != len(targets):
            raise MalformedError("settings.targets must be names")
        return settings


_LIMITS = {
    "rank": (1, 256),
    "alpha": (1, 1024),
    "steps": (1, 100_000),
    "batch": (1, 256),
    "max_tokens": (2, 8192),
    "seed": (0, 2**32 - 1),
}


def schema() -> dict[str, Any]:
    """Return the names, limits and defaults of all settings, for `measure_program`."""
    return {
        "defaults": LoraSettings().to_json(),
        "disclose": [one.value for one in Disclosed],
        "limits": {name: list(limits) for name, limits in _LIMITS.items()},
        "members": [one.name for one in fields(LoraSettings)],
        "targets": list(TARGETS),
    }

"""Why a job took the route it took: the part of a device record that the router writes.

Names, counts and reasons; nothing of the prompt. It is the device's own word, signed by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from privity.errors import MalformedError
from privity.identity.digests import check_digest
from privity.identity.fields import Fields

__all__ = ["MAX_PASSED_OVER", "MAX_REASONS", "Routing"]

MAX_PASSED_OVER = 16
MAX_REASONS = 16
_MAX_TEXT = 512
_MAX_KINDS = 64


@dataclass(frozen=True)
class Routing:
    """Why this route, and what was done to the prompt on its way out.

    Attributes:
        asked: the model or alias as the caller named it; empty where it named none.
        chosen: what was chosen: ``zdr/openai/gpt-5``.
        reasons: why, in words.
        passed_over: what came before it or was not possible, each with the reason.
        mode: what was done with personal data before it left for a provider; empty where nothing
            left for one.
        replaced: how many of each kind of personal data were replaced by stand-ins.
        kept: how many of each kind were recognised and left as they are.
        sent: salted digest of the very bytes that left for the provider.
        terms: what the provider promised, as `Terms.to_json` writes it.

    Raises:
        MalformedError: more than fits, or a value no reader would accept.
    """

    asked: str
    chosen: str
    reasons: tuple[str, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    mode: str = ""
    replaced: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    sent: str | None = None
    terms: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "replaced", MappingProxyType(dict(self.replaced)))
        object.__setattr__(self, "kept", MappingProxyType(dict(self.kept)))
        if self.sent is not None:
            check_digest(self.sent)
        if len(self.reasons) > MAX_REASONS or len(self.passed_over) > MAX_PASSED_OVER:
            raise MalformedError("more reasons than a record holds")

    def to_json(self) -> dict[str, Any]:
        """Return it as a member of the record."""
        return {
            "asked": self.asked,
            "chosen": self.chosen,
            "kept": dict(sorted(self.kept.items())),
            "mode": self.mode,
            "passed_over": [{"what": what, "why": why} for what, why in self.passed_over],
            "reasons": list(self.reasons),
            "replaced": dict(sorted(self.replaced.items())),
            "sent": self.sent,
            "terms": None if self.terms is None else dict(self.terms),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Routing:
        """Read what `to_json` writes; raises `MalformedError`."""
        passed_over = []
        for one in fields.items("passed_over", most=MAX_PASSED_OVER):
            entry = Fields(one, "passed_over[]")
            passed_over.append((_text(entry.take("what")), _text(entry.take("why"))))
            entry.done()
        terms = fields.optional("terms", fields.object)
        routing = cls(
            asked=_text(fields.take("asked")),
            chosen=_text(fields.take("chosen")),
            reasons=tuple(_text(one) for one in fields.items("reasons", most=MAX_REASONS)),
            passed_over=tuple(passed_over),
            mode=_text(fields.take("mode")),
            replaced=_counts(fields.object("replaced")),
            kept=_counts(fields.object("kept")),
            sent=fields.optional("sent", fields.digest),
            terms=None if terms is None else _terms(terms),
        )
        fields.done()
        return routing


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise MalformedError(f"a reason is a text of at most {_MAX_TEXT} characters")
    return value


def _counts(value: dict[str, Any]) -> dict[str, int]:
    if len(value) > _MAX_KINDS or not all(
        type(count) is int and 0 < count < 1 << 53 for count in value.values()
    ):
        raise MalformedError("counts of personal data are whole numbers above zero")
    return {_text(kind): count for kind, count in value.items()}


def _terms(value: dict[str, Any]) -> dict[str, Any]:
    """Return a provider's terms with the members they have, each of its form."""
    fields = Fields(value, "terms")
    days, training = fields.take("retention_days"), fields.take("training")
    if not (days is None or (type(days) is int and 0 <= days < 1 << 31)):
        raise MalformedError("terms.retention_days is a number of days or null")
    if not (training is None or isinstance(training, bool)):
        raise MalformedError("terms.training is true, false or null")
    found: dict[str, Any] = {
        "retention_days": days,
        "training": training,
        "regions": [_text(one) for one in fields.items("regions", most=64)],
    }
    for name in ("agreement", "as_of", "provider", "source"):
        found[name] = _text(fields.take(name))
    fields.done()
    return found

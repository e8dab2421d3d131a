"""Why a job took the route it took: the part of a device record that the router writes.

Names, counts and reasons; nothing of the prompt. It is the device's own word, signed by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privity.errors import MalformedError
from privity.identity.digests import check_digest
from privity.identity.fields import Fields

__all__ = ["MAX_PASSED_OVER", "MAX_REASONS", "Passed", "Routing"]

MAX_PASSED_OVER = 16
MAX_REASONS = 16
_MAX_TEXT = 512


@dataclass(frozen=True)
class Passed:
    """What was not chosen, or was tried before.

    Attributes:
        name: of a model on a rung, or of a rung.
        cause: of what kind the reason is, in a word.
        why: the reason.
    """

    name: str
    cause: str
    why: str

    def to_json(self) -> dict[str, str]:
        """Return it as a member of the record."""
        return {"cause": self.cause, "name": self.name, "why": self.why}


@dataclass(frozen=True)
class Routing:
    """Why this route, and what was done to the prompt on its way out.

    How many pieces of personal data were recognised is in it, and of which kinds is not: a receipt
    may be shown to others.

    Attributes:
        asked: the model or alias as the caller named it; empty where it named none.
        chosen: what was chosen: ``zdr/openai/gpt-5``.
        meant: what would have been, had everything worked and been affordable; empty where nothing
            else could have been.
        fallback: the rule for what may answer in place of that; empty likewise.
        reasons: why, in words.
        passed_over: what came before it or was not possible.
        more: how many more were passed over than are told.
        mode: what was done with personal data before it left for a provider; empty where nothing
            left for one.
        replaced: how many pieces of personal data were replaced by stand-ins.
        kept: how many were recognised and left as they are.
        sent: salted digest of the very bytes that left for the provider.
        terms: what the provider promised, as `Terms.to_json` writes it.

    Raises:
        MalformedError: more than fits, or a value no reader would accept.
    """

    asked: str
    chosen: str
    meant: str = ""
    fallback: str = ""
    reasons: tuple[str, ...] = ()
    passed_over: tuple[Passed, ...] = ()
    more: int = 0
    mode: str = ""
    replaced: int = 0
    kept: int = 0
    sent: str | None = None
    terms: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.sent is not None:
            check_digest(self.sent)
        if len(self.reasons) > MAX_REASONS or len(self.passed_over) > MAX_PASSED_OVER:
            raise MalformedError("more reasons than a record holds")

    def to_json(self) -> dict[str, Any]:
        """Return it as a member of the record."""
        return {
            "asked": self.asked,
            "chosen": self.chosen,
            "fallback": self.fallback,
            "kept": self.kept,
            "meant": self.meant,
            "mode": self.mode,
            "more": self.more,
            "passed_over": [one.to_json() for one in self.passed_over],
            "reasons": list(self.reasons),
            "replaced": self.replaced,
            "sent": self.sent,
            "terms": None if self.terms is None else dict(self.terms),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Routing:
        """Read what `to_json` writes; raises `MalformedError`."""
        terms = fields.optional("terms", fields.object)
        routing = cls(
            asked=_text(fields.take("asked")),
            chosen=_text(fields.take("chosen")),
            meant=_text(fields.take("meant")),
            fallback=_text(fields.take("fallback")),
            reasons=tuple(_text(one) for one in fields.items("reasons", most=MAX_REASONS)),
            passed_over=tuple(
                _passed(Fields(one, "passed_over[]"))
                for one in fields.items("passed_over", most=MAX_PASSED_OVER)
            ),
            more=fields.count("more"),
            mode=_text(fields.take("mode")),
            replaced=fields.count("replaced"),
            kept=fields.count("kept"),
            sent=fields.optional("sent", fields.digest),
            terms=None if terms is None else _terms(terms),
        )
        fields.done()
        return routing


def _passed(fields: Fields) -> Passed:
    passed = Passed(*(_text(fields.take(name)) for name in ("name", "cause", "why")))
    fields.done()
    return passed


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise MalformedError(f"a reason is a text of at most {_MAX_TEXT} characters")
    return value


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

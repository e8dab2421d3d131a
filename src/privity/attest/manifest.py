"""Manifests of approved measurements: reference values, and what stands behind them.

Hardware says *which* code runs. A manifest says who built that code and from which source; whoever
signs it vouches for it, and a person chooses whose word counts. Wire format: spec/reference.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

from privity.errors import MalformedError
from privity.identity.digests import check_content, check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.timestamps import format_time, whole_second

__all__ = [
    "IDENTIFYING",
    "ApprovedModel",
    "Manifest",
    "ReferenceValue",
    "Source",
    "shows",
]

IDENTIFYING: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "dev": frozenset({"measurement"}),
        "nitro": frozenset({"pcr0", "pcr1", "pcr2"}),
        # Versions are not enough: one in developer mode has the same, and other measurements.
        "nvidia": frozenset({"measurements"}),
        "sgx": frozenset({"mrenclave"}),
        "snp": frozenset({"measurement"}),
        "tdx": frozenset({"mrtd", "rtmr0", "rtmr1", "rtmr2"}),
    }
)
"""For each kind of evidence, the registers that say which code runs. An entry names all of them."""

_PCR = (32, 48, 64)
_SIZES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "nitro": {f"pcr{index}": _PCR for index in range(32)},
    "nvidia": {"measurements": (48,)},
    "sgx": {"mrenclave": (32,), "mrsigner": (32,)},
    "snp": {"measurement": (48,), "host_data": (32,)},
    "tdx": {"compose_hash": (32,), "mrtd": (48,), **{f"rtmr{index}": (48,) for index in range(4)}},
}
"""For each kind, how many bytes the registers have whose size its hardware fixes."""

_APP = ("compose_hash", "rtmr3")
_VERSIONS = ("driver_version", "vbios_version")

_MAX_ITEMS = 256
_MAX_REGISTERS = 64
_MAX_TEXT = 512


@dataclass(frozen=True)
class Source:
    """Where the code can be read, so that anyone can build and measure it again.

    Attributes:
        repository: its URL.
        commit: the exact version in it.
        recipe: how to build it; None where the repository says so itself.
    """

    repository: str
    commit: str
    recipe: str | None = None

    def __post_init__(self) -> None:
        check_texts(self.repository, self.commit, *([self.recipe] if self.recipe else []))

    def to_json(self) -> dict[str, Any]:
        """Return the source as JSON-ready data."""
        return {"commit": self.commit, "recipe": self.recipe, "repository": self.repository}

    @classmethod
    def from_fields(cls, fields: Fields) -> Source:
        """Read what `to_json` writes; raises `MalformedError`."""
        source = cls(
            repository=fields.text("repository"),
            commit=fields.text("commit"),
            recipe=fields.optional("recipe", fields.text),
        )
        fields.done()
        return source


@dataclass(frozen=True)
class ReferenceValue:
    """What one piece of evidence must show.

    Attributes:
        kind: the kind of evidence.
        registers: register by register, the value it must have. What is not named may be anything.

    Raises:
        MalformedError: the kind is unknown, a register has a value that no hardware shows, or one
            that identifies its code is missing: an entry that names too little would approve code
            nobody looked at.
    """

    kind: str
    registers: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "registers", MappingProxyType(dict(self.registers)))
        check_texts(self.kind, *self.registers, *self.registers.values())
        if self.kind not in IDENTIFYING:
            raise MalformedError("a reference value of a kind of evidence unknown here")
        missing = IDENTIFYING[self.kind] - self.registers.keys()
        if missing:
            raise MalformedError(
                f"a reference value for {self.kind} must name {', '.join(sorted(missing))} too"
            )
        if not 0 < len(self.registers) <= _MAX_REGISTERS:
            raise MalformedError(f"a reference value names 1 to {_MAX_REGISTERS} registers")
        for name, sizes in _SIZES.get(self.kind, {}).items():
            if name in self.registers:
                _check_hex(f"{self.kind} {name}", self.registers[name], sizes)

    def __hash__(self) -> int:
        return hash((self.kind, tuple(sorted(self.registers.items()))))

    @classmethod
    def of(cls, kind: str, measured: Mapping[str, str]) -> ReferenceValue:
        """Return an entry for code that measured so: what identifies it, and nothing else.

        Registers that differ between machines or starts, such as ``host_data``, are left out; an
        app that a TD loaded is named by its compose hash, and GPUs by their versions too.

        Raises:
            MalformedError: the kind is unknown, or a register it needs was not measured.
        """
        wanted = set(IDENTIFYING.get(kind, ()))
        if kind == "tdx" and measured.get("rtmr3", "").strip("0"):
            wanted.add(next((name for name in _APP if name in measured), "rtmr3"))
        if kind == "nvidia":
            wanted.update(_VERSIONS)
        return cls(kind, {name: measured[name] for name in sorted(wanted) if name in measured})

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON-ready data."""
        return {"kind": self.kind, "registers": dict(self.registers)}

    @classmethod
    def from_fields(cls, fields: Fields) -> ReferenceValue:
        """Read what `to_json` writes; raises `MalformedError`."""
        value = cls(fields.text("kind", max_chars=64), fields.object("registers"))
        fields.done()
        return value


@dataclass(frozen=True)
class ApprovedModel:
    """A model by name and weights.

    Attributes:
        id: the name the enclave serves it by.
        weights: ``sha256:`` or ``tree-sha256:`` of its weights.
    """

    id: str
    weights: str

    def __post_init__(self) -> None:
        check_texts(self.id)
        check_content(self.weights)

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON-ready data."""
        return {"id": self.id, "weights": self.weights}

    @classmethod
    def from_fields(cls, fields: Fields) -> ApprovedModel:
        """Read what `to_json` writes; raises `MalformedError`."""
        model = cls(fields.text("id"), fields.text("weights"))
        fields.done()
        return model


@dataclass(frozen=True)
class Manifest:
    """What a signer approves.

    Attributes:
        name: what people call this piece of software and version.
        builder: who built it.
        source: from what.
        measurements: what it measures as: every piece of an enclave's evidence must equal one.
        models: if not None, an enclave may serve these models and weights alone.
        programs: ``sha256:`` digests of training programs that may run in it.
        issued: when it begins to hold.
        expires: when it has ended; exclusive.
    """

    name: str
    builder: str
    source: Source
    measurements: tuple[ReferenceValue, ...]
    issued: datetime
    expires: datetime
    models: tuple[ApprovedModel, ...] | None = None
    programs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_texts(self.name, self.builder)
        object.__setattr__(self, "issued", whole_second(self.issued))
        object.__setattr__(self, "expires", whole_second(self.expires))
        if self.expires <= self.issued:
            raise MalformedError("a manifest that expires before it is issued")
        if not 0 < len(self.measurements) <= _MAX_ITEMS:
            raise MalformedError(f"a manifest has 1 to {_MAX_ITEMS} measurements")
        if len(self.models or ()) > _MAX_ITEMS or len(self.programs) > _MAX_ITEMS:
            raise MalformedError(f"a manifest lists at most {_MAX_ITEMS} models and programs")
        for program in self.programs:
            check_digest(program)

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of its canonical JSON, signatures left out."""
        return digest(canonical(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready data."""
        models = None if self.models is None else [model.to_json() for model in self.models]
        return {
            "builder": self.builder,
            "expires": format_time(self.expires),
            "issued": format_time(self.issued),
            "measurements": [value.to_json() for value in self.measurements],
            "models": models,
            "name": self.name,
            "programs": list(self.programs),
            "source": self.source.to_json(),
            "version": 1,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Manifest:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields.constant("version", 1)
        measurements = fields.items("measurements", least=1, most=_MAX_ITEMS)
        models = fields.optional("models", lambda name: fields.items(name, most=_MAX_ITEMS))
        programs = fields.items("programs", most=_MAX_ITEMS)
        if not all(isinstance(program, str) for program in programs):
            raise MalformedError("manifest.programs must be a list of digests")
        manifest = cls(
            name=fields.text("name"),
            builder=fields.text("builder"),
            source=Source.from_fields(fields.inner("source")),
            measurements=tuple(
                ReferenceValue.from_fields(Fields(one, "manifest.measurements[]"))
                for one in measurements
            ),
            issued=fields.time("issued"),
            expires=fields.time("expires"),
            models=None
            if models is None
            else tuple(
                ApprovedModel.from_fields(Fields(one, "manifest.models[]")) for one in models
            ),
            programs=tuple(programs),
        )
        fields.done()
        return manifest


def shows(value: ReferenceValue, kind: str, registers: Mapping[str, str]) -> bool:
    """Tell whether evidence shows what an entry says, register by register.

    Manifests and grants both ask here, so that neither approves what the other would not.

    Args:
        value: the entry.
        kind: of the evidence.
        registers: what it measured.

    Guarantees:
        A TD that loaded an app, as dstack does, shows no entry that is silent about the app: such
        an entry would approve an operating system with any app in it
        (tests/adversary/test_reference.py::test_an_app_that_the_entry_is_silent_about_is_refused,
        tests/adversary/test_release.py::test_an_app_that_a_grant_is_silent_about_is_refused).
    """
    if value.kind != kind:
        return False
    if any(registers.get(name) != wanted for name, wanted in value.registers.items()):
        return False
    return kind != "tdx" or bool(set(_APP) & value.registers.keys()) or not _loads_app(registers)


def _loads_app(registers: Mapping[str, str]) -> bool:
    rtmr3 = registers.get("rtmr3")  # absent: nobody can say that it was not used
    return rtmr3 is None or rtmr3.strip("0") != "" or "compose_hash" in registers


def check_texts(*texts: object) -> None:
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_TEXT:
            raise MalformedError(f"a manifest's texts have 1 to {_MAX_TEXT} characters")


def _check_hex(name: str, value: str, sizes: tuple[int, ...]) -> None:
    if len(value) not in [2 * size for size in sizes] or set(value) - set("0123456789abcdef"):
        digits = " or ".join(str(2 * size) for size in sizes)
        raise MalformedError(f"{name} is {digits} digits of lower-case hex")

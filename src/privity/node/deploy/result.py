"""What was rendered: files, the measurement to expect, and the manifest to sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from privity.attest.manifest import IDENTIFYING, Manifest
from privity.errors import InputError, MalformedError
from privity.identity.fields import Fields
from privity.identity.timestamps import format_time
from privity.node.deploy.request import DeployRequest

__all__ = ["Expectation", "Rendered", "reference_body"]


@dataclass(frozen=True)
class Expectation:
    """What evidence from the deployment will show.

    Attributes:
        kind: the kind of evidence.
        known: registers whose value is known now.
        elsewhere: registers whose value is not, and where it comes from.
        unmeasured: what no register says, and an operator or user should know.
    """

    kind: str
    known: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "kind": self.kind,
            "known": dict(self.known),
            "elsewhere": dict(self.elsewhere),
            "unmeasured": list(self.unmeasured),
        }


@dataclass(frozen=True)
class Rendered:
    """A deployment, rendered.

    Attributes:
        target: the platform.
        files: their text by name.
        expect: the measurement to expect.
        reference: the body of a reference manifest over it, with what is known.
        missing: what the body still misses before anyone can sign it; empty: ready to sign.
        lacks: what the enclave will not publish, and what devices refuse for it.
    """

    target: str
    files: Mapping[str, str]
    expect: Expectation
    reference: Mapping[str, Any]
    missing: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "target": self.target,
            "files": dict(self.files),
            "measurement": self.expect.to_json(),
            "reference": dict(self.reference),
            "missing": list(self.missing),
            "lacks": list(self.lacks),
        }


def reference_body(
    request: DeployRequest, expect: Expectation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a reference manifest's body, and what it still misses.

    Nothing is invented: what is not known is left out, and signing refuses the body until it is
    there.

    Raises:
        InputError: what was given has no place in a manifest.
    """
    by, model = request.provenance, request.model
    approved = None
    if model is not None and model.id is not None:
        approved = [{"id": model.id, "weights": model.root}]
    source = {"commit": by.commit, "recipe": None, "repository": by.repository}
    body = {
        "builder": by.builder,
        "expires": format_time(request.now + by.lifetime),
        "issued": format_time(request.now),
        "measurements": [{"kind": expect.kind, "registers": dict(expect.known)}],
        "models": approved,
        "name": f"{request.name} {request.image.digest}",
        "programs": [],
        "source": source,
        "version": 1,
    }
    wanted = IDENTIFYING[expect.kind] | expect.elsewhere.keys()
    missing = sorted(wanted - expect.known.keys())
    said = {"builder": by.builder, "repository": by.repository, "commit": by.commit}
    missing += [name for name, value in said.items() if value is None]
    if request.gpu:  # its versions are the platform's; evidence of a GPU that no entry lists fails
        missing.append("an entry for nvidia, with its measurements")
    if not missing:
        try:
            Manifest.from_fields(Fields(body, "manifest"))
        except MalformedError as error:
            raise InputError(f"the reference manifest: {error.message}") from None
    return body, tuple(missing)

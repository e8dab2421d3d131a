"""Floor 3: proof of code. A statement goes in, an `AttestedEnclave` comes out, or an error.

Promise: whoever holds an `AttestedEnclave` knows that its keys were bound, for this challenge, by
evidence of a kind the person trusts, and what that evidence rests on. Evidence of the kind ``dev``
runs through all the same code and proves nothing about hardware; it is labelled so everywhere.
spec/statement.md has the wire format and what is not promised.

Public names: `verify_statement`, `reverifier`, `Trust`, `build_statement`; `EvidenceVerifier` and
`Quoter`, the two sides of a kind of evidence; `DevRoot`, `DevQuoter`, `DevVerifier`;
`measure_package`.
"""

from privity.attest.evidence import EvidenceVerifier, Quoter
from privity.attest.evidence_dev import DevQuoter, DevRoot, DevVerifier
from privity.attest.measurement import measure_package, measure_tree
from privity.attest.publish import build_statement
from privity.attest.trust import Trust
from privity.attest.verify import reverifier, verify_statement

__all__ = [
    "DevQuoter",
    "DevRoot",
    "DevVerifier",
    "EvidenceVerifier",
    "Quoter",
    "Trust",
    "build_statement",
    "measure_package",
    "measure_tree",
    "reverifier",
    "verify_statement",
]

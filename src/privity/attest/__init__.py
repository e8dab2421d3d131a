"""Floor 3: proof of code. A statement goes in, an `AttestedEnclave` comes out, or an error.

Promise: whoever holds an `AttestedEnclave` knows that its keys were bound, for this challenge, by
evidence of a kind the person trusts, and what that evidence rests on. Evidence of the kind ``dev``
runs through all the same code and proves nothing about hardware; it is labelled so everywhere.
spec/statement.md has the wire format and what is not promised.

Public names. Statements: `build_statement`, `verify_statement`, `examine_statement`, `Examined`,
`LogView`, `accept`, `reverifier`, `Trust`. Kinds of evidence: `EvidenceVerifier` and `Quoter`, the
two sides of one; `Findings`, `Companions`; `DevRoot`, `DevQuoter`, `DevVerifier`;
`measure_package`, `measure_tree`. `privity.attest.log` has its own.

From their modules: the kinds of endorsement `examine.REFERENCE` and `examine.LOG`; evidence in
files, `files.examine_file`, `meaning.meaning_of`, `anchor.Anchor`, `chain.load_certificates`,
`roots.Roots`; approval of code, `manifest.Manifest`, `manifest.ReferenceValue`,
`signed_manifest.SignedManifest`, `signed_manifest.SignedRevocation`, `reference.verify_manifest`;
release of keys, `grant.Grant`, `grant.SignedGrant`, `grant_revocation.GrantRevocation`,
`grant_revocation.SignedGrantRevocation`, `release.authorize`, `release.AuthorizedRelease`,
`release.BootKeys`, `release.verify_boot`; a machine's own quoters, `quoters.available`,
`quoters.choose.AttesterSettings`, `quoters.choose.choose_quoters`.
"""

from privity.attest.evidence import Companions, EvidenceVerifier, Findings, Quoter
from privity.attest.evidence_dev import DevQuoter, DevRoot, DevVerifier
from privity.attest.examine import Examined, LogView, examine_statement
from privity.attest.measurement import measure_package, measure_tree
from privity.attest.publish import build_statement
from privity.attest.trust import Trust
from privity.attest.verify import accept, reverifier, verify_statement

__all__ = [
    "Companions",
    "DevQuoter",
    "DevRoot",
    "DevVerifier",
    "EvidenceVerifier",
    "Examined",
    "Findings",
    "LogView",
    "Quoter",
    "Trust",
    "accept",
    "build_statement",
    "examine_statement",
    "measure_package",
    "measure_tree",
    "reverifier",
    "verify_statement",
]

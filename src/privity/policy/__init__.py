"""Floor 2: the ceiling a person sets on what anyone may learn, and who upholds it.

A route whose disclosure exceeds the person's policy is refused before a byte leaves, with the
offending cells named in words and the least change that would admit it. Only a policy makes an
`AdmittedRoute`, and only those run. `EvidencePolicy` is what a policy demands of evidence before
there is a route to admit; `TermsPolicy` what it demands of a provider's promises, and
`SensitivePolicy` what personal data in a prompt (of the `Kind`s there are) demands of the route.
"""

from privity.policy.admission import PRESETS, AdmittedRoute, Policy, Routed
from privity.policy.ceiling import NO_CEILING, Ceiling, Offence
from privity.policy.evidence import EvidencePolicy, TcbStatus
from privity.policy.sensitive import Kind, Mode, SensitivePolicy
from privity.policy.terms import Feature, Terms, TermsPolicy

__all__ = [
    "NO_CEILING",
    "PRESETS",
    "AdmittedRoute",
    "Ceiling",
    "EvidencePolicy",
    "Feature",
    "Kind",
    "Mode",
    "Offence",
    "Policy",
    "Routed",
    "SensitivePolicy",
    "TcbStatus",
    "Terms",
    "TermsPolicy",
]

"""The enclave's side of hardware evidence: what asks the platform to sign 64 bytes.

Promise: a quoter here talks to one interface of the machine it runs on, returns what that
interface signed without changing it, and contacts nobody else, save an Intel collateral service
the operator named. It proves nothing by itself: the verifiers in `privity.attest` judge what it
returns, with no knowledge of how it was made.

Public names: `AttesterSettings`, `Attester`, `available`, `choose_quoters`; the quoters
`TsmQuoter`, `DstackQuoter`, `NitroQuoter`, `NvidiaQuoter`.
"""

from privity.attest.quoters.choose import (
    ATTESTERS,
    Attester,
    AttesterSettings,
    available,
    choose_quoters,
)
from privity.attest.quoters.dstack import DstackQuoter
from privity.attest.quoters.nitro import NitroQuoter
from privity.attest.quoters.nvidia import NvidiaQuoter
from privity.attest.quoters.tsm import TsmQuoter

__all__ = [
    "ATTESTERS",
    "Attester",
    "AttesterSettings",
    "DstackQuoter",
    "NitroQuoter",
    "NvidiaQuoter",
    "TsmQuoter",
    "available",
    "choose_quoters",
]

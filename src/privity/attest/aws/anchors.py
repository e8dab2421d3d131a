"""AWS's key that certifies Nitro enclaves: the root of every attestation document's chain.

A fact, as AWS publishes it in ``AWS_NitroEnclaves_Root-G1``. The SHA-256 fingerprint AWS gives for
that certificate is `ROOT_FINGERPRINT`; a test compares a real document's root with both.
"""

from __future__ import annotations

import base64

from privity.attest.anchor import Anchor
from privity.identity.timestamps import parse_time

__all__ = ["AWS", "ROOT_FINGERPRINT"]

ROOT_FINGERPRINT = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"

AWS: tuple[Anchor, ...] = (
    Anchor(
        "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US",
        base64.b64decode(
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE/AJU66YIwfNocOKa2pC+RjgyknNuiUv/9nLZiURLUFHlNKSx9tvj"
            "wLxYGjK3sXYHDt4S1po/6iEbZudSz33R3QlfbxNw9BcIQ9ncEAEh5M9jASgJZkSHyXlihDBNxT/0"
        ),
        parse_time("2019-10-28T13:28:05Z"),
        parse_time("2049-10-28T14:28:05Z"),
    ),
)

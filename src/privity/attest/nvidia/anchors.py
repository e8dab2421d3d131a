"""NVIDIA's roots, as facts: who certifies its chips, and who signs its reference values.

The two are kept apart by `privity.attest.evidence_nvidia`: neither stands in for the other.
Compared with NVIDIA's own file in tests/vectors/test_nvidia_vectors.py.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

from privity.attest.anchor import Anchor

__all__ = ["NVIDIA", "NVIDIA_RIM"]

# The names are RFC 4514 text: the last RDN of the certificate first.
NVIDIA: tuple[Anchor, ...] = (
    Anchor(
        name="O=NVIDIA,CN=NVIDIA Device Identity CA",
        spki=b64decode(
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEDkwUozv4pWJmWNtBKWB+TL9FGcRBJxb00NkXxJeABb3qvq79"
            "V7xmCC1xik+LYFLhUW7op8QiuE3oVwcbtY/Tlb6gz6HGPufIDWvWOQHZHLvRh9OFfcFrXM6vI4/4wn29"
        ),
        not_before=datetime(2021, 11, 5, tzinfo=UTC),
        not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
)
"""The root of every data-centre GPU's and switch's certificate."""

NVIDIA_RIM: tuple[Anchor, ...] = (
    Anchor(
        name="CN=NVIDIA CoRIM signing Root CA,O=NVIDIA,C=US",
        spki=b64decode(
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEuECyi9vNM+Iw2lfUzyBldHAwaC1HF7TCgp12QcEyUTm3Tagx"
            "wr48d55+K2VIlWYIDk7NlAIQdcV/Ff7euGLI+Qauj93HsSI4WX298PpW54RTgz9tC+Q684caR/BXWEeZ"
        ),
        not_before=datetime(2023, 3, 16, 15, 37, 34, tzinfo=UTC),
        not_after=datetime(2053, 3, 8, 15, 37, 34, tzinfo=UTC),
    ),
)
"""The root of the signers of reference integrity manifests."""

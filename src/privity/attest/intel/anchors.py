"""Intel's root for SGX and TDX: one key, unchanged since 2018.

Source: the root certificate that every quote carries, and that Intel publishes with its
provisioning certification service. The key is what is trusted; `dcap_qvl` carries the same.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from privity.attest.anchor import Anchor

__all__ = ["INTEL"]

INTEL: tuple[Anchor, ...] = (
    Anchor(
        "C=US,ST=CA,L=Santa Clara,O=Intel Corporation,CN=Intel SGX Root CA",
        base64.b64decode(
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi71OiOSLRFhWGjbnBVJfVn"
            "kY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlA=="
        ),
        datetime(2018, 5, 21, 10, 45, 10, tzinfo=UTC),
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
)

"""The hardware roots a verifier ends in: by default the vendors' own."""

from __future__ import annotations

from dataclasses import dataclass

from privity.attest.amd.anchors import AMD
from privity.attest.anchor import Anchor
from privity.attest.aws.anchors import AWS
from privity.attest.nvidia.anchors import NVIDIA

__all__ = ["Roots"]


@dataclass(frozen=True)
class Roots:
    """Whom to believe about hardware. Tests and private hardware inject their own.

    Attributes:
        intel: the SGX root CA's certificate, DER; None for Intel's, which `dcap_qvl` carries.
        amd: ARK, ASK and ASVK keys of each product.
        nitro: AWS's Nitro Enclaves root.
        nvidia: NVIDIA's device identity root.
    """

    intel: bytes | None = None
    amd: tuple[Anchor, ...] = AMD
    nitro: tuple[Anchor, ...] = AWS
    nvidia: tuple[Anchor, ...] = NVIDIA

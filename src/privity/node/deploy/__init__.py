"""Manifests with which operators run an enclave on other people's machines.

Promise: what is rendered names the image by digest, asks for hardware evidence by name (so that
the enclave never falls back to ``dev``), and comes with the measurement to expect as far as it can
be computed here, offline; the rest is listed with where its value comes from. Nothing is fetched.

Public names: `TARGETS`, `DeployRequest`, `ImageRef`, `PlatformValues`, `Publishing`, `Rendered`,
`SealedModel`, `render`, `write`.
"""

from privity.node.deploy.render import TARGETS, render, write
from privity.node.deploy.request import (
    DeployRequest,
    ImageRef,
    PlatformValues,
    Publishing,
    SealedModel,
)
from privity.node.deploy.result import Rendered

__all__ = [
    "TARGETS",
    "DeployRequest",
    "ImageRef",
    "PlatformValues",
    "Publishing",
    "Rendered",
    "SealedModel",
    "render",
    "write",
]

"""dstack, as Phala Cloud and self-hosted dstack run it.

The guest measures the app-compose document into RTMR3, as the event ``compose-hash``, before any
container starts; privity replays that log. Source: Dstack-TEE/dstack, dstack-types (the document)
and docs/attestation-tdx.md (what each register holds).
"""

from __future__ import annotations

import hashlib

from privity.identity.jcs import canonical
from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation
from privity.node.deploy.service import CONTAINER_USER, compose_text, enclave_service

__all__ = ["expect", "files"]

_SOCKET = "/var/run/dstack.sock"
_HEAD = (
    "An enclave for dstack. The app-compose document beside this file holds it, and is measured."
)
_IMAGE = (
    "of the dstack OS image and the size of the machine: dstack-mr measure, from the image's "
    "release, with this many processors and this much memory"
)


def files(request: DeployRequest) -> dict[str, str]:
    """Return the app-compose document, in the bytes whose digest is measured, and the compose."""
    service = enclave_service(
        request, "dstack", user=CONTAINER_USER, volumes=[f"{_SOCKET}:{_SOCKET}"]
    )
    compose = compose_text(request, service, _HEAD)
    document = {
        "allowed_envs": [],  # none: what is not measured may not steer the enclave
        "docker_compose_file": compose,
        "gateway_enabled": True,
        "kms_enabled": True,
        "local_key_provider_enabled": False,
        "manifest_version": 2,
        "name": request.name,
        "no_instance_id": False,
        "public_logs": False,
        "public_sysinfo": False,
        "public_tcbinfo": True,
        "runner": "docker-compose",
        "secure_time": True,
    }
    return {
        # Sorted keys, no spaces, UTF-8: dstack's own normal form, which equals RFC 8785 here.
        "app-compose.json": canonical(document).decode(),
        "docker-compose.yml": compose,
    }


def expect(request: DeployRequest, rendered: dict[str, str]) -> Expectation:
    """Return the compose hash, and the registers that the OS image decides."""
    compose_hash = hashlib.sha256(rendered["app-compose.json"].encode()).hexdigest()
    given = dict(request.platform.registers)
    names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
    return Expectation(
        kind="tdx",
        known={**given, "compose_hash": compose_hash},
        elsewhere={name: _IMAGE for name in names if name not in given},
        unmeasured=(
            "rtmr3 differs from machine to machine (it holds the instance and the key provider): "
            "approve compose_hash, not rtmr3",
            "a cloud that changes app-compose.json, such as by adding a script of its own, changes "
            "the compose hash: read what it runs, then take sha256sum of those bytes",
        ),
    )

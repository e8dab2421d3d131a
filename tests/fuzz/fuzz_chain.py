"""Certificates: DER and PEM, chains, and the vendors' extensions in them."""

from __future__ import annotations

from fuzz.harness import NOW, Made, anchors, attempt, der, join, split
from pki.certificates import NOON, to_pem
from pki.nvidia import NvidiaPki, blackwell
from pki.snp import SnpPki
from privity.attest.amd.certificate import read_chip_certificate
from privity.attest.chain import load_certificates, verify_chain
from privity.attest.der import read_der
from privity.attest.nvidia import device as nvidia_device

_ANCHORS = anchors("chain")


def one(data: bytes) -> None:
    attempt(load_certificates, data)
    attempt(read_der, data)
    chain = [
        certificate
        for part in split(data, 6)
        for certificate in attempt(load_certificates, part) or []
    ]
    for certificate in chain[:2]:
        attempt(nvidia_device.firmware_id, certificate)
        nvidia_device.is_debug(certificate)
        attempt(read_chip_certificate, certificate)
    attempt(nvidia_device.chip_of, chain)
    attempt(verify_chain, chain, _ANCHORS, NOW)


def seeds() -> Made:
    gpu, other, chip = NvidiaPki(), blackwell(), SnpPki()
    assert NOON == NOW
    return Made(
        [
            join(*(der(one) for one in gpu.chain[:3])),
            join(*(der(one) for one in other.chain[:2])),
            der(chip.certificates[0]),
            to_pem(*gpu.chain[:2]),
        ],
        [gpu.chain[3]],
    )

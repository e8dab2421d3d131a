"""Canonical JSON, did:key and Data Integrity proofs, against what their authors published."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from privity.errors import MalformedError
from privity.identity import multibase
from privity.identity.did_key import encode_did, parse_did, parse_secret
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.identity.timestamps import parse_time
from privity.receipt import add_proof, verify_proof
from privity.receipt.data_integrity import hash_data


def _load(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / name).read_text())


JCS = _load("jcs_rfc8785.json")
DID = _load("did_key_ed25519.json")
PROOF = _load("eddsa_jcs_2022.json")["vectors"][0]


def _name(vector: dict[str, Any]) -> str:
    return vector["name"]


@pytest.mark.parametrize("vector", JCS["documents"], ids=_name)
def test_jcs_document(vector: dict[str, Any]) -> None:
    assert canonical(loads_strict(vector["input"].encode())) == bytes.fromhex(vector["output"])


@pytest.mark.parametrize("vector", JCS["numbers"], ids=_name)
def test_jcs_number(vector: dict[str, Any]) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(vector["ieee754"]))
    if vector["expect"] == "canonical":
        assert canonical(number) == vector["output"].encode()
    else:
        with pytest.raises(MalformedError):
            canonical(number)


@pytest.mark.parametrize("vector", DID["seeds"], ids=_name)
def test_did_key_from_seed(vector: dict[str, Any]) -> None:
    key = SigningKey(bytes.fromhex(vector["seed"]))
    assert key.did == vector["did"]
    assert parse_did(vector["did"]) == key.verify_key.public_bytes


@pytest.mark.parametrize("vector", DID["specification"], ids=_name)
def test_did_key_of_the_specification(vector: dict[str, Any]) -> None:
    assert encode_did(parse_did(vector["did"])) == vector["did"]


@pytest.mark.parametrize("vector", DID["refused"], ids=_name)
def test_did_key_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_did(vector["did"])


def test_small_order_points_are_all_there_are() -> None:
    """Add up points on the curve ourselves: the eight of small order, found without the list."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        t = d * a[0] * b[0] * a[1] * b[1]
        x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + t, -1, p) % p
        return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, p) % p

    def lift(y: int) -> tuple[int, int] | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        for root in (x, x * pow(2, (p - 1) // 4, p) % p):
            if root * root % p == square:
                return root, y
        return None

    order = 2**252 + 27742317777372353535851937790883648493
    found: set[int] = set()
    y = 3
    while len(found) < 5:  # of eight points, three pairs share their y
        point, times, total = lift(y), order, (0, 1)
        while point and times:
            total = add(total, point) if times & 1 else total
            point, times = add(point, point), times >> 1
        found |= {total[1]}
        y += 1
    for small in found:
        with pytest.raises(MalformedError):
            encode_did(small.to_bytes(32, "little"))


def test_eddsa_jcs_2022_each_step() -> None:
    config = {k: v for k, v in PROOF["signed"]["proof"].items() if k != "proofValue"}
    assert canonical(PROOF["unsigned"]).decode() == PROOF["canonical_document"]
    assert canonical(config).decode() == PROOF["canonical_proof"]
    assert hashlib.sha256(canonical(config)).hexdigest() == PROOF["proof_hash"]
    assert hashlib.sha256(canonical(PROOF["unsigned"])).hexdigest() == PROOF["document_hash"]
    assert hash_data(PROOF["unsigned"], config).hex() == PROOF["hash_data"]
    signature = SigningKey(parse_secret(PROOF["secret"])).sign(bytes.fromhex(PROOF["hash_data"]))
    assert signature.hex() == PROOF["signature"]
    assert multibase.encode_z(signature) == PROOF["proof_value"]


def test_eddsa_jcs_2022_signs_the_published_document() -> None:
    key = SigningKey(parse_secret(PROOF["secret"]))
    signed = add_proof(PROOF["unsigned"], key, created=parse_time(PROOF["created"]))
    assert signed == PROOF["signed"]


def test_eddsa_jcs_2022_verifies_the_published_document() -> None:
    signer = "did:key:" + PROOF["public"]
    now = parse_time(PROOF["created"]) + timedelta(days=365)
    verified = verify_proof(PROOF["signed"], signer=signer, now=now)
    assert verified.document == PROOF["unsigned"]
    assert verified.signer == signer

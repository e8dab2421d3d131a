"""What is committed is what the sources give: artefacts, and Poseidon's constants."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

import evm
from evm import ROOT, Chain, artefact, poseidon, script
from native import needs_kernel

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("vyper") is None,
    reason="the Vyper compiler is not installed here: pip install vyper==0.4.3",
)
CONTRACTS = ("Token", "Membership", "Credits", "Providers")
LARGEST_CODE = 24_576  # EIP-170
HASHER = """
# pragma version 0.4.3
import poseidon

@external
@pure
def hash1(a: uint256) -> uint256:
    return poseidon.hash1(a)

@external
@pure
def hash2(a: uint256, b: uint256) -> uint256:
    return poseidon.hash2(a, b)
"""


@needs_compiler
@pytest.mark.parametrize("name", CONTRACTS)
def test_an_artefact_is_what_the_compiler_gives(name: str) -> None:
    compiling = script("compile_contracts")
    path = compiling.ARTEFACTS / f"{name}.json"
    assert path.read_text() == compiling.text(compiling.compiled(name)), (
        "run python scripts/compile_contracts.py"
    )


@pytest.mark.parametrize("name", CONTRACTS)
def test_an_artefact_names_its_sources(name: str) -> None:
    """Checked also where there is no compiler."""
    compiling = script("compile_contracts")
    found = {source.name: compiling.digest(source) for source in compiling.sources(name)}
    assert artefact(name)["source_sha256"] == found
    assert set(artefact(name)) >= {"abi", "bytecode", "compiler", "settings"}


def test_poseidons_constants_are_what_the_script_gives() -> None:
    writing = script("poseidon_vyper")
    assert writing.TARGET.read_text() == writing.vyper()


def test_the_script_computes_circomlibs_poseidon() -> None:
    writing = script("poseidon_vyper")
    for inputs, digest in writing.VECTORS.items():
        assert writing.plain(list(inputs)) == writing.rewritten(list(inputs)) == digest


def test_the_empty_trees_in_the_source_are_empty_trees() -> None:
    text = (ROOT / "contracts" / "Membership.vy").read_text()
    [block] = re.findall(r"EMPTY: constant\(uint256\[21\]\) = \[(.*?)\n\]", text, re.DOTALL)
    found = [int(number) for number in re.findall(r"^    (\d+),$", block, re.MULTILINE)]
    wanted = [0]
    for _ in range(20):
        wanted.append(poseidon(wanted[-1], wanted[-1]))
    assert found == wanted


@pytest.fixture(scope="module")
def hasher(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("hasher")
    (folder / "Hasher.vy").write_text(HASHER)
    (folder / "poseidon.vy").write_text((ROOT / "contracts" / "poseidon.vy").read_text())
    return Chain().deploy(evm.compiled(folder, "Hasher"))


def samples() -> list[int]:
    """Return the edges of the field and of words, and values that look random."""
    p = int(script("poseidon_vyper").P)
    edges = [0, 1, 2, p - 1, p - 2, p // 2, 2**253, 2**128]
    return edges + [pow(5, 977 * i, p) for i in range(1, 9)]


def test_poseidon_on_chain_is_circomlibs(hasher: Any) -> None:
    writing = script("poseidon_vyper")
    assert hasher.functions.hash1(1).call() == writing.VECTORS[(1,)]
    assert hasher.functions.hash2(1, 2).call() == writing.VECTORS[(1, 2)]
    values = samples()
    for a, b in zip(values, reversed(values), strict=True):
        assert hasher.functions.hash1(a).call() == writing.plain([a])
        assert hasher.functions.hash2(a, b).call() == writing.plain([a, b])


@needs_kernel("poseidon")
def test_poseidon_on_chain_is_zerokits(hasher: Any) -> None:
    from privity.anon.field import Field
    from privity.anon.membership import poseidon as native

    def element(value: int) -> Field:
        return Field(value.to_bytes(32, "little"))

    for a in samples():
        assert int.from_bytes(native(element(a)), "little") == poseidon(a)
        assert native(element(a), element(3)) == element(hasher.functions.hash2(a, 3).call())


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_fits_where_contracts_are_kept(name: str) -> None:
    chain = Chain()
    token, who = chain.accounts[8], chain.accounts[9]
    terms: dict[str, list[Any]] = {
        "Token": [],
        "Membership": [token, 2, 1, 1, who],
        "Credits": [token, who, who, who, [1], b"\x01" * 32, 1, 1],
        "Providers": [token, 1, 1],
    }
    deployed = chain.deploy(name, *terms[name])
    assert 0 < len(chain.web3.eth.get_code(deployed.address)) <= LARGEST_CODE

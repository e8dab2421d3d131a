"""What a contract is called with and answers: the artefacts of contracts/, and the ABI's encoding.

Solidity's contract ABI, version 2, through eth-abi, which is strict about what it decodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from privity.errors import InputError, MalformedError, MissingDependency
from privity.ledger.wire import Log

__all__ = ["Artefact", "Event", "load_artefact", "revert_reason"]

_ERROR = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a contract: its name, its values by name, and the log it was read from."""

    name: str
    values: Mapping[str, Any]
    log: Log


class Artefact:
    """A compiled contract.

    Args:
        name: the contract's name.
        abi: its interface, as the compiler wrote it.
        bytecode: what deploys it.
    """

    def __init__(self, name: str, abi: Sequence[Mapping[str, Any]], bytecode: bytes) -> None:
        self.name = name
        self.bytecode = bytecode
        self._functions = {i["name"]: i for i in abi if i["type"] == "function"}
        self._events = {
            _keccak(_signature(i)): i
            for i in abi
            if i["type"] == "event" and not i.get("anonymous")
        }
        made = [item for item in abi if item["type"] == "constructor"]
        self._constructor: Mapping[str, Any] = made[0] if made else {"inputs": []}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what the constructor takes, in its order."""
        return tuple(item["name"] for item in self._constructor["inputs"])

    def has(self, function: str) -> bool:
        """Tell whether the contract has a function of this name."""
        return function in self._functions

    def creation(self, *values: Any) -> bytes:
        """Return what a transaction that deploys the contract carries.

        Raises:
            InputError: the values do not fit the constructor.
        """
        return self.bytecode + _encode(self._constructor["inputs"], values, f"{self.name}'s making")

    def calldata(self, function: str, *values: Any) -> bytes:
        """Return what a call carries.

        Raises:
            InputError: the values do not fit the function.
        """
        item = self._functions[function]
        encoded = _encode(item["inputs"], values, f"{self.name}.{function}")
        return _keccak(_signature(item))[:4] + encoded

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Return what a call answered.

        Raises:
            MalformedError: it is not of the function's form.
        """
        types = [_type(item) for item in self._functions[function]["outputs"]]
        return _decode(types, data, f"{self.name}.{function}")

    def event(self, log: Log) -> Event | None:
        """Return the event in a log; None for one the contract's interface does not have.

        Raises:
            MalformedError: it is not of the event's form.
        """
        item = self._events.get(log.topics[0]) if log.topics else None
        if item is None:
            return None
        indexed = [i for i in item["inputs"] if i["indexed"]]
        others = [i for i in item["inputs"] if not i["indexed"]]
        if len(indexed) != len(log.topics) - 1:
            raise MalformedError(f"a log is no {item['name']} of {self.name}")
        where = f"{self.name}'s event {item['name']}"
        values: dict[str, Any] = {}
        for each, topic in zip(indexed, log.topics[1:], strict=True):
            values[each["name"]] = _decode([_type(each)], topic, where)[0]
        names = [each["name"] for each in others]
        values.update(zip(names, _decode([_type(i) for i in others], log.data, where), strict=True))
        return Event(item["name"], values, log)


@lru_cache(maxsize=16)
def load_artefact(name: str) -> Artefact:
    """Return a contract of this distribution, by name.

    Raises:
        MissingDependency: eth-abi is not installed.
        InputError: there is no such contract, or its file is damaged.
    """
    try:
        folder = resources.files("privity.ledger") / "artefacts"
        data = json.loads((folder / f"{name}.json").read_bytes())
        bytecode = bytes.fromhex(data["bytecode"].removeprefix("0x"))
        return Artefact(name, data["abi"], bytecode)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the compiled contract {name} cannot be read: {type(error).__name__}",
            hint="is privity installed whole?",
        ) from None


def revert_reason(data: bytes) -> str:
    """Return the reason a contract gave for refusing; empty where it gave none. Total."""
    try:
        if data[:4] == _ERROR:
            return str(_decode(["string"], data[4:], "a reason")[0])
        if data[:4] == _PANIC:
            return f"arithmetic or bounds (panic {_decode(['uint256'], data[4:], 'a panic')[0]:#x})"
    except MalformedError:
        pass
    return ""


def _signature(item: Mapping[str, Any]) -> bytes:
    return f"{item['name']}({','.join(_type(i) for i in item['inputs'])})".encode()


def _type(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(part) for part in item['components'])}){kind[len('tuple') :]}"


def _encode(inputs: Sequence[Mapping[str, Any]], values: Sequence[Any], where: str) -> bytes:
    from eth_abi.exceptions import EncodingError

    eth_abi = _eth_abi()
    if len(inputs) != len(values):
        raise InputError(f"{where} takes {len(inputs)} values, not {len(values)}")
    try:
        return bytes(eth_abi.encode([_type(item) for item in inputs], values))
    except (EncodingError, TypeError, ValueError, OverflowError):
        raise InputError(f"a value given for {where} is not of its type or range") from None


def _decode(types: Sequence[str], data: bytes, where: str) -> tuple[Any, ...]:
    from eth_abi.exceptions import DecodingError

    try:
        return tuple(_eth_abi().decode(types, data))
    except (DecodingError, ValueError, OverflowError, RecursionError, MemoryError):
        raise MalformedError(f"what came is not of the form of {where}") from None


def _keccak(data: bytes) -> bytes:
    _eth_abi()
    from eth_utils.crypto import keccak

    return bytes(keccak(data))


def _eth_abi() -> Any:
    # Imported here: who has nothing to do with the ledger needs none of it.
    try:
        import eth_abi
    except ImportError as error:
        raise MissingDependency(
            "the ledger's contracts need eth-abi, which is not installed",
            hint="`make setup` in a checkout; elsewhere pip install 'privity[anonymous]'",
        ) from error
    return eth_abi

"""Accounts of the ledger: a secp256k1 key that signs transactions and EIP-712 messages.

An account is public: whoever reads the ledger sees all that it ever did. Deposits and stakes are
made by one; prompts are not, see spec/ledger.md. The key is kept as `privity.identity.keystore`
keeps the device's: in a 0600 file, or in the system's keyring where the person chose that.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privity.errors import InputError, MissingDependency
from privity.home import create_private_once, read_private
from privity.identity.keystore import secret_in_keyring, uses_keyring
from privity.ledger.wire import Address, Hash, check_address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

__all__ = ["Account", "load_account", "load_or_create_account"]

_KEY = re.compile(r"[0-9a-f]{64}")
_SERVICE = "privity ledger account"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, §2.4.1


class Account:
    """A key of the ledger and the address it has there.

    Args:
        key: the 32 secret bytes.

    Raises:
        InputError: they are no key of secp256k1.
        MissingDependency: eth-account is not installed.

    Guarantees:
        Neither `repr` nor an error shows the key (tests/unit/test_ledger_accounts.py).
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32 or not 0 < int.from_bytes(key) < _ORDER:
            raise InputError("a key of the ledger is 32 bytes, in the range of secp256k1")
        self._account: LocalAccount = _eth_account().from_key(key)
        self.address: Address = check_address(self._account.address)

    @classmethod
    def generate(cls, randomness: Callable[[int], bytes] = os.urandom) -> Account:
        """Return a new account."""
        return cls(randomness(32))

    def unsafe_key(self) -> bytes:
        """Return the secret key itself."""
        return bytes(self._account.key)

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, Hash]:
        """Return a signed transaction (EIP-1559) as sent to a node, and its hash.

        Raises:
            InputError: the fields make no transaction.
        """
        try:
            signed = self._account.sign_transaction(dict(fields))
        except (TypeError, ValueError) as error:
            raise InputError(f"no transaction can be signed: {type(error).__name__}") from None
        return bytes(signed.raw_transaction), Hash(bytes(signed.hash))

    def sign_typed(
        self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]
    ) -> bytes:
        """Return the 65-byte signature (r, s, v) of an EIP-712 message.

        Raises:
            InputError: the message does not fit its types.
        """
        try:
            signed = self._account.sign_typed_data(dict(domain), dict(types), dict(message))
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"no message can be signed: {type(error).__name__}") from None
        return bytes(signed.signature)

    def __repr__(self) -> str:
        return f"Account({self.address})"


def load_or_create_account(path: Path) -> Account:
    """Return the account whose key is in ``path``, made first if there is none.

    Where the person keeps keys in the system's keyring, the path only names the entry there.

    Raises:
        InputError: the key cannot be read or written, is damaged, or is open to others.
    """
    if uses_keyring():
        stored = secret_in_keyring(
            _SERVICE, str(path), lambda: Account.generate().unsafe_key().hex()
        )
        return _parse(stored, "the keyring")
    if not path.exists():
        create_private_once(path, Account.generate().unsafe_key().hex().encode("ascii") + b"\n")
    return load_account(path)


def load_account(path: Path) -> Account:
    """Return the account whose key is in a file: 64 hexadecimal digits.

    Raises:
        InputError: there is none, it is damaged, or others on this machine can read it.
    """
    if not path.exists():
        raise InputError(
            f"there is no account's key at {path}", hint="`privity ledger account FILE` makes one"
        )
    return _parse(read_private(path).decode("ascii", errors="replace"), str(path))


def _parse(text: str, place: str) -> Account:
    digits = text.strip().lower().removeprefix("0x")
    if not _KEY.fullmatch(digits):
        raise InputError(
            f"the ledger key in {place} is damaged: not 64 hexadecimal digits",
            hint="restore it from a copy; what the account holds is lost without its key",
        )
    return Account(bytes.fromhex(digits))


def _eth_account() -> Any:
    # Imported here: it takes most of a second, and who only reads the ledger needs none of it.
    # It raises the interpreter's limit of recursion a hundredfold, for pairings that nothing here
    # computes. Then a stranger's deeply nested JSON would end the process, not raise an error.
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account as EthAccount
    except ImportError as error:
        raise MissingDependency(
            "transactions of the ledger need eth-account, which is not installed",
            hint="`make setup` in a checkout; elsewhere pip install 'privity[anonymous]'",
        ) from error
    finally:
        sys.setrecursionlimit(limit)
    return EthAccount()

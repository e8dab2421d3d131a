"""The keys one seals to: what a gateway publishes, and the private side of it.

Source: RFC 9458 §3. A *key configuration* is a key identifier, a KEM with its public key, and the
symmetric algorithms the gateway accepts with it. A list of them is ``application/ohttp-keys``.

Nothing here says whose keys they are. The client seals only to configurations that came in a
verified statement.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from privity.errors import InputError, MalformedError, StaleKeyError
from privity.hazmat.aead import AES_128_GCM, CHACHA20_POLY1305
from privity.hazmat.hpke import DEFAULT, KEMS, SUITES, Suite
from privity.hazmat.kdf import HKDF_SHA256
from privity.hazmat.kem import Kem, KemPrivateKey

__all__ = [
    "KEYS_TYPE",
    "GatewayKey",
    "GatewayKeys",
    "KeyConfig",
    "encode_configs",
    "parse_configs",
    "preferred",
]

KEYS_TYPE = "application/ohttp-keys"
"""Media type of a list of key configurations."""

Symmetric = tuple[tuple[int, int], ...]

_SYMMETRIC: Symmetric = ((HKDF_SHA256, AES_128_GCM.id), (HKDF_SHA256, CHACHA20_POLY1305.id))
_MAX_LIST = 64 * 1024  # bytes; some fifty X-Wing configurations


@dataclass(frozen=True)
class KeyConfig:
    """One public key of a gateway and how to use it.

    Attributes:
        key_id: 0 to 255; names the key at this gateway, nothing more.
        kem_id: HPKE KEM identifier, one of `hazmat.hpke.KEMS`.
        public_key: the serialised public key of that KEM.
        symmetric: pairs of HPKE KDF and AEAD identifiers, the gateway's favourite first; those
            privity does not speak are kept and never chosen.

    Raises:
        MalformedError: a part is out of range, or no combination is one that privity speaks.
    """

    key_id: int
    kem_id: int
    public_key: bytes
    symmetric: Symmetric = _SYMMETRIC

    def __post_init__(self) -> None:
        kem = KEMS.get(self.kem_id)
        if kem is None:
            raise MalformedError(f"KEM {self.kem_id:#06x} is not supported")
        if not 0 <= self.key_id <= 255:
            raise MalformedError("a key identifier is one byte")
        if len(self.public_key) != kem.n_pk:
            raise MalformedError(f"a public key of {kem.name} is {kem.n_pk} bytes")
        if not any((self.kem_id, *pair) in SUITES for pair in self.symmetric):
            raise MalformedError("no symmetric algorithm of this key configuration is supported")

    @property
    def suite(self) -> Suite:
        """The gateway's favourite among the suites privity speaks."""
        return next(
            SUITES[self.kem_id, *pair] for pair in self.symmetric if (self.kem_id, *pair) in SUITES
        )

    def encode(self) -> bytes:
        """Return the encoding of RFC 9458 §3.1."""
        pairs = b"".join(struct.pack(">HH", *pair) for pair in self.symmetric)
        return (
            struct.pack(">BH", self.key_id, self.kem_id)
            + self.public_key
            + struct.pack(">H", len(pairs))
            + pairs
        )

    @classmethod
    def parse(cls, data: bytes) -> KeyConfig:
        """Read what `encode` writes.

        Raises:
            MalformedError: not a key configuration, or one that privity cannot use.
        """
        if len(data) < 3:
            raise MalformedError("a key configuration stops before its public key")
        key_id, kem_id = struct.unpack_from(">BH", data)
        kem = KEMS.get(kem_id)
        if kem is None:
            raise MalformedError(f"KEM {kem_id:#06x} is not supported")
        end = 3 + kem.n_pk
        if len(data) < end + 2:
            raise MalformedError("a key configuration stops before its symmetric algorithms")
        (size,) = struct.unpack_from(">H", data, end)
        if size == 0 or size % 4 or len(data) != end + 2 + size:
            raise MalformedError("the symmetric algorithms of a key configuration do not fit it")
        pairs = tuple(struct.iter_unpack(">HH", data[end + 2 :]))
        return cls(key_id, kem_id, data[3:end], pairs)


def encode_configs(configs: Iterable[KeyConfig]) -> bytes:
    """Return the configurations as ``application/ohttp-keys`` (RFC 9458 §3.2)."""
    encoded = [config.encode() for config in configs]
    return b"".join(struct.pack(">H", len(item)) + item for item in encoded)


def parse_configs(data: bytes) -> tuple[KeyConfig, ...]:
    """Read ``application/ohttp-keys``; leave out configurations of KEMs privity does not speak.

    One encoding error refuses the whole list, because different ways to recover from it could be
    used to tell clients apart (RFC 9458 §3.2).

    Raises:
        MalformedError: an encoding error, or nothing in the list is usable.
    """
    if len(data) > _MAX_LIST:
        raise MalformedError(f"a list of key configurations is larger than {_MAX_LIST} bytes")
    configs = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < 2:
            raise MalformedError("a list of key configurations stops inside a length")
        (size,) = struct.unpack_from(">H", data, offset)
        offset += 2
        item = data[offset : offset + size]
        if len(item) != size or size < 3:
            raise MalformedError("a list of key configurations stops inside one of them")
        if struct.unpack_from(">H", item, 1)[0] in KEMS:
            configs.append(KeyConfig.parse(item))
        offset += size
    if not configs:
        raise MalformedError("there is no key configuration that privity can use")
    return tuple(configs)


def preferred(configs: Sequence[KeyConfig]) -> KeyConfig:
    """Return the configuration a client seals to: X-Wing if there is one, else the first."""
    if not configs:
        raise InputError("no key configuration to choose from")
    return next((item for item in configs if item.kem_id == DEFAULT.kem.id), configs[0])


@dataclass(frozen=True, eq=False)
class GatewayKey:
    """A key configuration with its private key. Compared by identity; its repr shows no secret."""

    config: KeyConfig
    private: KemPrivateKey

    def __reduce__(self) -> NoReturn:
        raise TypeError("gateway keys live and die in one process")


@dataclass(frozen=True, eq=False)
class _Retired:
    key: GatewayKey
    until: float


class GatewayKeys:
    """The private side: made in memory, looked up by key identifier, rotated. Run by the gateway.

    Args:
        current: the keys to publish.
        grace_s: seconds for which keys still open requests after `rotate` replaced them.
        clock: monotonic seconds.

    Guarantees:
        Keys cannot be pickled or copied and show in no repr (tests/unit/test_key_config.py). A
        retired key opens nothing after its grace period, whoever holds the statement it was in
        (`test_a_retired_key_is_stale_after_its_grace_period`).
    """

    def __init__(
        self,
        current: Sequence[GatewayKey],
        *,
        grace_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not current:
            raise InputError("a gateway needs at least one key")
        self._current = tuple(current)
        self._retired: tuple[_Retired, ...] = ()
        self._grace_s = grace_s
        self._clock = clock

    @classmethod
    def generate(
        cls,
        kems: Sequence[Kem] = (),
        *,
        grace_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> GatewayKeys:
        """Return fresh keys, one for each of ``kems``; by default X-Wing, then X25519.

        The first identifier is random, so that a request sealed to a gateway before its restart
        most likely meets an unknown identifier, which the client knows how to handle.
        """
        chosen = kems or sorted(KEMS.values(), key=lambda kem: kem.id != DEFAULT.kem.id)
        return cls(_fresh(chosen, secrets.randbelow(256), ()), grace_s=grace_s, clock=clock)

    @property
    def configs(self) -> tuple[KeyConfig, ...]:
        """What to publish: the current keys' configurations."""
        return tuple(key.config for key in self._current)

    @property
    def configs_bytes(self) -> bytes:
        """`configs` as ``application/ohttp-keys``."""
        return encode_configs(self.configs)

    @property
    def live(self) -> tuple[GatewayKey, ...]:
        """Every key that still opens requests: the current ones and those in grace."""
        now = self._clock()
        self._retired = tuple(item for item in self._retired if item.until > now)
        return self._current + tuple(item.key for item in self._retired)

    def find(self, key_id: int) -> GatewayKey:
        """Return the live key with that identifier.

        Raises:
            StaleKeyError: there is none.
        """
        for key in self.live:
            if key.config.key_id == key_id:
                return key
        raise StaleKeyError(
            "the gateway does not hold the key that was sealed to",
            hint="fetch and verify its statement again",
        )

    def rotate(self) -> None:
        """Replace the current keys by fresh ones; the old open requests for the grace period."""
        live = self.live
        until = self._clock() + self._grace_s
        self._retired += tuple(_Retired(key, until) for key in self._current)
        taken = {key.config.key_id for key in live}
        kems = [KEMS[key.config.kem_id] for key in self._current]
        self._current = _fresh(kems, self._current[-1].config.key_id + 1, taken)

    def __repr__(self) -> str:
        return f"GatewayKeys(ids={[config.key_id for config in self.configs]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("gateway keys live and die in one process")


def _fresh(kems: Sequence[Kem], first_id: int, taken: Iterable[int]) -> tuple[GatewayKey, ...]:
    used = set(taken)
    ids = (number % 256 for number in range(first_id, first_id + 256) if number % 256 not in used)
    keys = []
    for kem, key_id in zip(kems, ids, strict=False):
        private = kem.generate()
        keys.append(GatewayKey(KeyConfig(key_id, kem.id, private.public_bytes), private))
    if len(keys) < len(kems):
        raise InputError(
            "all 256 key identifiers are in use", hint="rotate less often, or shorten the grace"
        )
    return tuple(keys)

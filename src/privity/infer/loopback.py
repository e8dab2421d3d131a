"""Which hosts are this machine: one rule for all who decide by it."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["is_loopback", "may_be_loopback"]

_NAMES = ("localhost", "localhost.")
_V6 = ipaddress.IPv6Address("::1")
_OFTEN_HERE = frozenset({"localhost", "localhost6", "ip6-localhost", "ip6-loopback"})
_NUMBER = re.compile(r"0x[0-9a-f]{0,16}|[0-9]{1,24}")


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine's loopback: ``localhost``, in 127.0.0.0/8, or ``::1``.

    Any other name could be anywhere, and is not resolved: that would tell a name server of it.

    Args:
        host: a name or an address, without brackets and port.
    """
    if host.lower() in _NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # Python releases differ on whether a mapped address is loopback; it reaches 127.0.0.0/8.
        mapped = address.ipv4_mapped
        return address == _V6 if mapped is None else mapped.is_loopback
    return address.is_loopback


def may_be_loopback(host: str) -> bool:
    """Tell whether ``host`` could be this machine, in any spelling that a resolver takes for it.

    For decisions to trust *less*: what is only here where a system reads addresses leniently, such
    as ``127.1``, ``0.0.0.0`` or ``app.localhost``, is no loopback to `is_loopback`.

    Args:
        host: a name or an address, without brackets and port.
    """
    plain = host.lower().partition("%")[0].rstrip(".")
    if is_loopback(plain) or plain.removesuffix(".localdomain") in _OFTEN_HERE:
        return True
    if plain.endswith((".localhost", ".localhost.localdomain")):
        return True
    try:
        v6 = int(ipaddress.IPv6Address(plain))
    except ValueError:
        v4 = _legacy(plain)
        return v4 is not None and v4 >> 24 in (0, 127)
    high, low = v6 >> 32, v6 & 0xFFFF_FFFF
    return high in (0, 0xFFFF) and low >> 24 in (0, 127)  # `::`, `::1`, compatible and mapped


def _legacy(host: str) -> int | None:
    """Return an IPv4 address as `inet_aton` reads it: fewer parts, octal, hexadecimal."""
    parts = host.split(".")
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    try:
        *first, last = [_number(part) for part in parts]
    except ValueError:
        return None
    if any(one > 255 for one in first) or last >= 256 ** (5 - len(parts)):
        return None
    return sum(one << 8 * (3 - at) for at, one in enumerate(first)) + last


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)

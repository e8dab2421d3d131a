"""Which hosts are this machine: one rule for all who decide by it."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback"]

_NAMES = ("localhost", "localhost.")
_V6 = ipaddress.IPv6Address("::1")


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

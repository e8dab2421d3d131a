"""Where a person can be written to: the name of a channel and a public key, as one line of text.

Inboxes of one channel share its topic, so that relays and stores see a message to somebody who
reads there, and not to whom.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from privity.anon.messages.sealing import Channel
from privity.anon.messages.topics import content_topic
from privity.errors import InputError, MalformedError
from privity.identity.multibase import decode_base64url, encode_base64url

__all__ = ["InboxAddress", "channel_named"]

_FORM = "inbox1"
_CHECK = 4  # bytes: a mistyped key would seal to nobody, and nobody would know
_MAX_TEXT = 4096


def channel_named(name: str) -> Channel:
    """Return privity's channel of a name: topic ``/privity/1/{name}/sealed``, X-Wing.

    Raises:
        InputError: the name is not 1 to 64 letters, digits and ``. _ ~ -``.
    """
    return Channel(content_topic("privity", 1, name))


@dataclass(frozen=True)
class InboxAddress:
    """What somebody needs to know to write to a person.

    Attributes:
        name: of the channel.
        key: the public key that messages are sealed to.
    """

    name: str
    key: bytes

    @property
    def channel(self) -> Channel:
        """The channel to send on."""
        return channel_named(self.name)

    def __str__(self) -> str:
        return f"{_FORM}/{self.name}/{encode_base64url(self.key + _check(self.name, self.key))}"

    @classmethod
    def parse(cls, text: str) -> InboxAddress:
        """Read ``inbox1/CHANNEL/KEY``, the key with its checksum in base64url.

        Raises:
            MalformedError: it is no address, or was cut or mistyped.
        """
        parts = text.strip().split("/") if len(text) <= _MAX_TEXT else []
        if len(parts) != 3 or parts[0] != _FORM:
            raise MalformedError("an inbox's address is inbox1/CHANNEL/KEY")
        try:
            channel = channel_named(parts[1])
        except InputError as error:
            raise MalformedError(f"not an inbox's channel: {error.message}") from None
        whole = decode_base64url(parts[2])
        key, check = whole[:-_CHECK], whole[-_CHECK:]
        size = channel.suite.kem.n_pk
        if len(key) != size or not hmac.compare_digest(check, _check(parts[1], key)):
            raise MalformedError("the address was cut or mistyped: its checksum is another")
        return cls(parts[1], key)


def _check(name: str, key: bytes) -> bytes:
    return hashlib.sha256(f"privity/inbox/v1/{name}\0".encode() + key).digest()[:_CHECK]

"""Floor 3: secrecy in transit, from a person's device to code that holds the key, and back.

Promise: what is sealed to a gateway's key is read by the holder of that key only, and the answer by
the one who asked; both arrive as they were sent, in order and to their end, or are refused with an
error that says how. Relay, host and network see sizes, which padding and records make coarse, and
times. Nothing here says *whose* the key is: `attest` does.

Public: `key_config` (`KeyConfig`, `GatewayKeys`, `parse_configs`), `binary_http` (messages as
bytes), `ohttp` and `chunked_ohttp` (the seal, as a whole and streamed), `padding` and `records`
(sizes that say little), `shaping` (times that say little). The formats and what is not promised:
spec/seal.md.
"""

from privity.seal.key_config import GatewayKeys, KeyConfig, parse_configs, preferred

__all__ = ["GatewayKeys", "KeyConfig", "parse_configs", "preferred"]

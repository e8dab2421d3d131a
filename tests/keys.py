"""A key source for tests: the published keys of one gateway."""

from __future__ import annotations

from privity.seal.key_config import GatewayKeys, KeyConfig, parse_configs, preferred


class Published:
    """The keys of one gateway; refreshing finds the same, and is counted."""

    def __init__(self, keys: GatewayKeys | bytes) -> None:
        given = keys if isinstance(keys, bytes) else keys.configs_bytes
        self._config = preferred(parse_configs(given))
        self.refreshed = 0

    async def current(self) -> KeyConfig:
        return self._config

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        self.refreshed += 1
        return self._config

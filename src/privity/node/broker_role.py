"""Floor 5: a broker as a process: its folder, its evidence, where it listens."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privity.attest.trust import Trust
from privity.infer.engines.hardening import harden
from privity.node.attestation import AttestationSettings
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.node.listen import bind, end_with_stdin, serve_app

__all__ = ["BrokerSettings", "serve_broker"]

logger = logging.getLogger("privity.broker")


@dataclass(frozen=True)
class BrokerSettings:
    """How to run a broker.

    Attributes:
        folder: its grants, keys and log.
        attestation: how it proves what it runs.
        owners: did:keys whose grants are taken.
        trust: the owners' roots.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        lifeline: end when standard input ends.
    """

    folder: Path
    attestation: AttestationSettings
    owners: tuple[str, ...]
    trust: Trust
    host: str = "127.0.0.1"
    port: int = 0
    lifeline: bool = False


def serve_broker(settings: BrokerSettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run a broker in this process until it is told to end. Blocks.

    Args:
        settings: how to run it.
        on_ready: told ``{"ready", "url", "pid", "root", "evidence"}`` once it serves.

    Raises:
        InputError: a setting cannot be had.
        EvidenceError: the log in its folder is not what it was.
    """
    gaps = harden().gaps()
    broker = Broker(settings.folder, owners=settings.owners, trust=settings.trust)
    quoters = settings.attestation.quoters()
    kinds = [quoter.kind for quoter in quoters]
    app = BrokerApp(broker, quoters)
    sock = bind(settings.host, settings.port)
    if settings.lifeline:
        end_with_stdin()

    def ready(url: str) -> None:
        if "dev" in kinds:
            logger.warning("evidence of kind dev: plain software, which does not stop its host")
        for gap in gaps:
            logger.warning("%s", gap)
        who = {"root": settings.attestation.root, "evidence": kinds}
        on_ready({"ready": True, "url": url, "pid": os.getpid(), **who})

    serve_app(app, sock, on_ready=ready)

"""Floor 5: a private run with both sides on this machine: broker and trainer as its children.

The same path as between two machines, with the same grant, attestation and sealing; what it keeps
apart here is the records and the disk. Evidence is of the kind ``dev``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from privity.attest import measure_package
from privity.attest.grant import Grant, Purpose, SignedGrant
from privity.attest.manifest import ReferenceValue
from privity.errors import PeerError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.node.owner_client import local_broker
from privity.node.role_process import RoleProcess
from privity.train.program import measure_program
from privity.vault.artefact import Sealed
from privity.vault.recipients import Recipient

__all__ = ["grant_here", "train_here"]

_BROKER_LIMIT_S = 60.0
_COMMAND = (sys.executable, "-m", "privity.cli", "serve")


def grant_here(
    sealed: Sealed,
    owner: SigningKey,
    recipient: Recipient,
    broker: Path,
    *,
    name: str,
    clock: Clock = utc_now,
) -> SignedGrant:
    """Allow the program installed here, once, for a day, with the code installed here.

    Args:
        sealed: the dataset, its key not erased yet.
        owner: signs the grant.
        recipient: whom the adapter is sealed to.
        broker: the folder of the owner's broker.
        name: what the dataset is called.
        clock: the time.
    """
    now = clock()
    grant = Grant(
        owner=owner.did,
        artefact=sealed.id,
        root=sealed.root,
        name=name,
        purpose=Purpose.TRAIN,
        issued=now,
        expires=now + timedelta(days=1),
        measurements=(ReferenceValue("dev", {"measurement": measure_package()}),),
        unsafe_dev=True,
        programs=(measure_program(),),
        recipient=str(recipient),
        uses=1,
        lease_s=60,
    )
    signed = grant.sign(owner)
    local_broker(broker, owner.did).add(signed, sealed.key.unsafe_bytes())
    return signed


def train_here(dataset: Path, adapter: Path, folder: Path, *, base: Path | None) -> dict[str, Any]:
    """Run broker and trainer until the adapter is there, and return what the trainer was told.

    Args:
        dataset: the sealed dataset, granted in the broker of the privity home.
        adapter: where the sealed adapter goes.
        folder: for the broker's log.
        base: a GGUF file to start from, or None for the default model.

    Raises:
        PeerError: one of them ended before it was done; the trainer says why on standard error.
    """
    command = (*_COMMAND, "broker", "--lifeline")
    broker = RoleProcess("broker", command, folder, start_limit_s=_BROKER_LIMIT_S)
    try:
        url = broker.ready["url"]
        places = ("--broker", url, "--dataset", str(dataset), "--out", str(adapter))
        more = () if base is None else ("--base", str(base))
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*_COMMAND, "trainer", *places, *more, "--lifeline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as trainer:
            try:
                said = trainer.stdout.read() if trainer.stdout else b""
            except BaseException:
                trainer.terminate()
                raise
    finally:
        broker.stop()
    try:
        told = json.loads(said)
        if trainer.returncode or told["done"] is not True:
            raise ValueError("not done")
    except (ValueError, KeyError, TypeError):
        raise PeerError("the trainer ended before it was done", hint="it said why above") from None
    return dict(told)

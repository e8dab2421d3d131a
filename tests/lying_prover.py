"""An edge prover that is attested and lies: a process for tests.

``python lying_prover.py HOW ROOT`` with HOW: ``garbage``, ``others`` for a proof of other tokens,
or ``refusal``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from privity.anon.query import make_proof, query_context
from privity.anon.query_witness import MAX_WITNESS, QueryWitness
from privity.infer.engines.tokens import tokens_of_file
from privity.infer.engines.weights import find_default
from privity.node.attestation import AttestationSettings
from privity.node.listen import bind, end_with_stdin, serve_app
from privity.node.prover import ProverApp
from privity.node.prover_role import ProverEnclave, ProverSettings
from privity.seal.asgi import Receive, Send, answer, read_body


class Lying(ProverApp):
    """Answers with what is no proof of the tokens."""

    how = "garbage"

    async def _serve(self, receive: Receive, send: Send) -> None:
        witness = QueryWitness.from_bytes(await read_body(receive, MAX_WITNESS, 30))
        if self.how == "refusal":
            await answer(send, 400, [], b"not today")
            return
        made = os.urandom(2144)
        if self.how == "others":
            vocabulary = tokens_of_file(find_default()).vocabulary
            context = query_context(witness.bucket, vocabulary, witness.digest)
            made = make_proof((100,), vocabulary, witness.bucket, context, witness.blinding)
        await answer(send, 200, [], made)


def main(how: str, root: str) -> None:
    """Serve until standard input ends."""
    Lying.how = how
    settings = ProverSettings(AttestationSettings(Path(root), names=("dev",)))
    app = ProverEnclave(Lying(settings.terms()), settings.attestation.quoters())
    sock = bind("127.0.0.1", 0)
    end_with_stdin()
    serve_app(app, sock, on_ready=lambda url: print(json.dumps({"url": url}), flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])

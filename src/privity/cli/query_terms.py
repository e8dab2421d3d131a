"""`privity operator query-terms`: in what an enclave's requests are to be proved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

__all__ = ["query_terms"]


def query_terms(
    out: Annotated[Path, typer.Option(help="Where to write them.", metavar="FILE")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The tokenizer.json of the model that answers; by default the demo model's "
            "vocabulary is taken.",
            metavar="FILE",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="A GGUF file of SmolLM2's kind to take it from.", metavar="FILE"),
    ] = None,
    bucket: Annotated[
        list[int] | None,
        typer.Option(
            help="A price bucket in tokens: 128, 512 or 2048; may be given again, and 128 has to "
            "be. By default all.",
            metavar="TOKENS",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the terms of proved queries: vocabulary, denied tokens, buckets.

    The file goes to the enclave (`query` in its payments file), to each gateway and to edge
    provers (`--query`), and to whoever asks.
    """
    from privity.anon.query_terms import QueryTerms
    from privity.anon.vocabulary import BUCKETS
    from privity.errors import InputError
    from privity.home import write_private
    from privity.infer.engines.tokenizer_file import tokens_of_tokenizer
    from privity.infer.engines.tokens import tokens_of_file
    from privity.infer.engines.weights import find_default, weights_at

    if tokenizer is not None and weights is not None:
        raise InputError("a vocabulary is of --tokenizer or of --weights, not of both")
    if tokenizer is not None:
        tokens = tokens_of_tokenizer(tokenizer)
    else:
        tokens = tokens_of_file(find_default() if weights is None else weights_at(weights))
    vocabulary = tokens.vocabulary
    terms = QueryTerms(vocabulary, tuple(sorted(set(bucket))) if bucket else BUCKETS)
    write_private(out, terms.to_bytes() + b"\n")
    facts = {
        "tokenizer": vocabulary.tokenizer,
        "tokens": vocabulary.size,
        "denied": len(vocabulary.denied),
        "buckets": list(terms.buckets),
        "file": str(out),
    }
    output.tell_facts(facts, as_json=as_json)

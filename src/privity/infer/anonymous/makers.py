"""Makes queries in any provider's terms: by the tokenizers on this device, and its prover."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import BUCKETS, DESK_VOCABULARY, Vocabulary
from privity.errors import InputError, MissingDependency, PrivityError
from privity.infer.anonymous.proved import QueryMaker
from privity.infer.anonymous.provers import DeviceProver, QueryProver
from privity.infer.engines.query_tokens import DeskTokens
from privity.infer.engines.tokenizer_file import digest_of_tokenizer, tokens_of_tokenizer
from privity.infer.engines.tokens import RequestTokens, tokens_of_file
from privity.infer.engines.weights import find_default

__all__ = ["QueryMakers", "tokens_for"]

_DESK = QueryTerms(DESK_VOCABULARY, BUCKETS[:1])


class QueryMakers:
    """What makes the queries of one device; each provider's is made once. Run by the device.

    Args:
        tokenizers: files, as of `tokens_of_tokenizer`, for models other than the demo's.
        prover: makes the proofs of jobs; by default this device. Questions to a desk, which are
            small and hide nothing, it proves itself, so that nothing but jobs needs another node.
        elsewhere: whether that prover is on another machine; for the disclosure.
    """

    def __init__(
        self,
        tokenizers: Sequence[Path] = (),
        *,
        prover: QueryProver | None = None,
        elsewhere: bool = False,
    ) -> None:
        self.elsewhere = elsewhere
        self._tokenizers = tuple(tokenizers)
        self._device = DeviceProver()
        self._prover = prover or self._device
        self._jobs: dict[QueryTerms, QueryMaker] = {}
        self._desks: dict[QueryTerms | None, QueryMaker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def for_jobs(self, terms: QueryTerms) -> QueryMaker:
        """Return what makes queries of jobs; it gets its keys ready meanwhile.

        Raises:
            InputError: the tokenizer of the provider's model is not on this device.
            MissingDependency: nor is the demo model, or the tokenizers library.
        """
        if terms not in self._jobs:
            tokens = await to_thread.run_sync(tokens_for, terms.vocabulary, self._tokenizers)
            made = QueryMaker(terms, tokens, prover=self._prover)
            self._jobs[terms] = made
            self._warm(made)
        return self._jobs[terms]

    async def for_desk(self, terms: QueryTerms | None) -> QueryMaker:
        """Return what makes queries of questions to a desk.

        They look like short jobs where the provider's terms are known and its tokenizer is here.
        Else they are in the vocabulary of bytes, the same for every device.

        Args:
            terms: the provider's; None before they are known.
        """
        if terms not in self._desks:
            made = QueryMaker(_DESK, DeskTokens(), prover=self._device)
            if terms is not None:
                with suppress(InputError, MissingDependency):
                    tokens = await to_thread.run_sync(
                        tokens_for, terms.vocabulary, self._tokenizers
                    )
                    made = QueryMaker(terms, tokens, prover=self._device)
            self._desks[terms] = made
        return self._desks[terms]

    def _warm(self, maker: QueryMaker) -> None:
        task = asyncio.create_task(_warmed(maker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Stop getting ready, and close what the prover uses."""
        ending = tuple(self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._prover.aclose()


async def _warmed(maker: QueryMaker) -> None:
    with suppress(PrivityError):  # whoever proves is told
        await maker.warm()


def tokens_for(vocabulary: Vocabulary, tokenizers: Sequence[Path]) -> RequestTokens:
    """Return the tokenizer of a provider's vocabulary: of one of the files, or the demo model's.

    Raises:
        InputError: none of them is its; the hint names what is wanted, and what cannot be read.
        MissingDependency: the tokenizers library is not installed; or the demo model is not, and
            no file is given.
    """
    unreadable: list[str] = []
    for path in tokenizers:
        try:
            found = digest_of_tokenizer(path)
        except InputError as error:  # another may be the one
            unreadable.append(error.message)
            continue
        if found == vocabulary.tokenizer:
            return tokens_of_tokenizer(path, wanted=vocabulary.tokenizer)
    hint = "; ".join(
        (
            "get the provider's tokenizer.json, the file with the SHA-256 "
            f"{vocabulary.tokenizer.removeprefix('sha256:')}, and name it in "
            "`[anonymous] tokenizers`",
            *unreadable,
        )
    )
    try:
        demo = tokens_of_file(find_default())
    except MissingDependency as error:
        if not tokenizers:
            raise MissingDependency(
                f"this provider wants each query proved, and on this device {error.message}",
                hint=f"{error.hint}; or {hint}",
            ) from error
    else:
        if demo.vocabulary.tokenizer == vocabulary.tokenizer:
            return demo
    raise InputError(
        "this provider wants queries proved in the vocabulary of a model whose tokenizer is not on "
        "this device",
        hint=hint,
    )

"""The model a run starts from: GGUF weights, made whole numbers again, and its tokens.

Nothing is fetched: the weights are a file, which may be one in memory that has no name.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from privity.errors import EngineError, MissingDependency
from privity.train.dataset import Record
from privity.train.gguf_adapter import ARCHITECTURES

__all__ = ["IGNORED", "Base", "Tokens", "check_installed", "go_offline", "load_base"]

IGNORED = -100
"""The label of a token that is read and not learned, as transformers spells it."""

_NOWHERE = "/dev/null/privity"
_LIBRARIES = ("torch", "transformers", "peft", "gguf", "safetensors")


@dataclass(frozen=True)
class Tokens:
    """A record as the model reads it: token ids, and what of them is learned."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass
class Base:
    """A model and its tokenizer.

    Attributes:
        model: a transformers causal language model, 32-bit floats.
        tokenizer: its tokenizer.
    """

    model: Any
    tokenizer: Any

    @property
    def architecture(self) -> str:
        """What transformers calls this type of model; one of `ARCHITECTURES`."""
        return str(self.model.config.model_type)

    def encode(self, record: Record, *, most: int) -> Tokens | None:
        """Return a record as tokens, cut after ``most``; None if nothing to learn is left of it."""
        ids: list[int] = []
        labels: list[int] = []
        for text, learned in self._spans(record):
            new = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += new
            labels += new if learned else [IGNORED] * len(new)
        if not record.chat:
            ids.append(self.tokenizer.eos_token_id)
            labels.append(self.tokenizer.eos_token_id)
        # The first token has nothing before it to be told from.
        cut = Tokens(tuple(ids[:most]), (IGNORED, *labels[1:most]))
        return cut if any(label != IGNORED for label in cut.labels) else None

    def _spans(self, record: Record) -> list[tuple[str, bool]]:
        """Return the text in pieces, each learned or only read."""
        if not record.chat:
            return [(turn.content, turn.learned) for turn in record.turns]
        spans, written = [], ""
        for end, turn in enumerate(record.turns, start=1):
            if not turn.learned:
                continue
            before = self._chat(record, end - 1, answer=True)
            after = self._chat(record, end, answer=False)
            if not (before.startswith(written) and after.startswith(before)):
                raise EngineError("the base model's chat template cannot be learned turn by turn")
            spans += [(before[len(written) :], False), (after[len(before) :], True)]
            written = after
        return spans

    def _chat(self, record: Record, turns: int, *, answer: bool) -> str:
        if not self.tokenizer.chat_template:
            raise EngineError("the base model has no chat template: give prompts and completions")
        messages = [{"role": one.role, "content": one.content} for one in record.turns[:turns]]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=answer
        )
        return str(text)


def go_offline() -> None:
    """Tell the libraries, before they are imported, to fetch, report and cache nothing.

    In a confined process they could not do it either; this spares the attempts.
    """
    import ctypes.util
    import tempfile

    os.environ.update(
        CUDA_VISIBLE_DEVICES="",
        DO_NOT_TRACK="1",
        HF_HOME=_NOWHERE,
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        TORCHINDUCTOR_CACHE_DIR="/",  # it must exist, and nothing is written in it
        TRANSFORMERS_OFFLINE="1",
        XDG_CACHE_HOME=_NOWHERE,
    )
    tempfile.tempdir = _NOWHERE
    # It starts a compiler and writes a file; who asks has a name to fall back to.
    ctypes.util.find_library = lambda name: None


def check_installed() -> None:
    """Look whether the libraries that train are there, without loading them.

    Raises:
        MissingDependency: the `train` extra is not installed.
    """
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise MissingDependency(
                f"{name} is not installed",
                hint="pip install 'privity[train]', or make train-setup",
            )


def load_base(path: str) -> Base:
    """Return the model in a GGUF file.

    Args:
        path: the file, such as ``/proc/self/fd/7``.

    Raises:
        MissingDependency: the `train` extra is not installed.
        EngineError: the weights cannot be read, or are of a type that adapters are not made for.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise MissingDependency(
            f"{error.name or 'a part of the train extra'} is not installed",
            hint="pip install 'privity[train]', or make train-setup",
        ) from None
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder, name = os.path.split(os.path.abspath(path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    except Exception as error:  # foreign parsers of a foreign format: whatever they raise
        raise EngineError(
            f"the base weights cannot be read ({type(error).__name__})", hint="it takes GGUF files"
        ) from None
    if model.config.model_type not in ARCHITECTURES:
        raise EngineError(f"adapters are made for {', '.join(ARCHITECTURES)}, not for this base")
    # It was made whole numbers: PEFT must not take it for a quantised one.
    model.config.__dict__.pop("quantization_config", None)
    return Base(model, tokenizer)

"""The training program: base weights and records in, an adapter out. This runs in the enclave.

A plain loop of its own, since the trainers of libraries write checkpoints and logs. Nothing here
writes a file or prints; metrics go into the bundle, which leaves sealed to the owner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from privity.errors import EngineError, MalformedError, MissingDependency
from privity.train.base import IGNORED, Base, Tokens
from privity.train.bundle import Bundle
from privity.train.dataset import Dataset
from privity.train.gguf_adapter import ARCHITECTURES, Matrix, adapter_gguf, tensor_name
from privity.train.settings import LoraSettings

__all__ = ["Progress", "Trained", "train_lora"]

Progress = Callable[[int, int], None]
"""Told after each step how many are done, of how many; never what was seen."""

_TOLERANCE = 1e-4
_CHECK = "check"


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        bundle: the adapter and the metrics of the run.
        records: how many records were read.
        steps: how many steps were taken.
        losses: of each step; None unless the settings let it leave.
    """

    bundle: Bundle
    records: int
    steps: int
    losses: tuple[float, ...] | None


def train_lora(
    base: Base, dataset: Dataset, *, name: str, progress: Progress | None = None
) -> Trained:
    """Train an adapter.

    Args:
        base: what to start from; the adapter's layers stay in its model.
        dataset: the records, and how to go about it.
        name: what the adapter's configuration calls its base.
        progress: told after each step.

    Raises:
        MalformedError: no record has anything to learn within ``max_tokens``.
        EngineError: training diverged, or the adapter read back is not the one that was trained,
            or it changes nothing.
        MissingDependency: the `train` extra is not installed.

    Guarantees:
        The adapter that is returned was loaded again from its bytes, does to the model what the
        trained one did, and does something; with one seed, one machine and as many threads, the
        same bytes come out (tests/unit/test_lora.py).
    """
    torch, peft = _libraries()
    settings = dataset.settings
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True)
    encoded = [base.encode(record, most=settings.max_tokens) for record in dataset.records]
    tokens = [one for one in encoded if one is not None]
    if not tokens:
        raise MalformedError(f"nothing to learn in the first {settings.max_tokens} tokens")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.targets),
        base_model_name_or_path=name,
        task_type="CAUSAL_LM",
    )
    base.model.name_or_path = name  # what PEFT writes down; it would be a path of the enclave's
    model = peft.get_peft_model(base.model, config)
    losses = _learn(torch, model, _batches(torch, tokens, settings, base), settings, progress)
    bundle = _bundle(model, config, base, settings, losses, skipped=len(encoded) - len(tokens))
    _check(torch, model, bundle, _tensors(torch, tokens[:1], base))
    told = tuple(losses) if settings.disclose == "loss" else None
    return Trained(bundle, len(encoded), settings.steps, told)


def _libraries() -> tuple[Any, Any]:
    try:
        import peft
        import torch
    except ImportError as error:
        raise MissingDependency(
            f"{error.name or 'a part of the train extra'} is not installed",
            hint="pip install 'privity[train]', or make train-setup",
        ) from None
    return torch, peft


def _batches(
    torch: Any, tokens: Sequence[Tokens], settings: LoraSettings, base: Base
) -> Iterator[dict[str, Any]]:
    """Yield a batch for each step: all records in a new order, and again."""
    order: list[int] = []
    for _ in range(settings.steps):
        while len(order) < settings.batch:
            order += torch.randperm(len(tokens)).tolist()
        chosen, order = order[: settings.batch], order[settings.batch :]
        yield _tensors(torch, [tokens[one] for one in chosen], base)


def _tensors(torch: Any, batch: Sequence[Tokens], base: Base) -> dict[str, Any]:
    longest = max(len(one.ids) for one in batch)
    filler = base.tokenizer.eos_token_id or 0
    rows = [
        (
            [*one.ids, *[filler] * (longest - len(one.ids))],
            [*one.labels, *[IGNORED] * (longest - len(one.ids))],
            [1] * len(one.ids) + [0] * (longest - len(one.ids)),
        )
        for one in batch
    ]
    ids, labels, mask = zip(*rows, strict=True)
    named = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    return {key: torch.tensor(value) for key, value in named.items()}


def _learn(
    torch: Any,
    model: Any,
    batches: Iterator[dict[str, Any]],
    settings: LoraSettings,
    progress: Progress | None,
) -> list[float]:
    weights = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    model.train()
    for step, batch in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings.steps)
        loss = model(**batch, use_cache=False).loss
        losses.append(float(loss.detach()))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if progress is not None:
            progress(step, settings.steps)
    model.eval()
    # Not before the last step: at which one it diverged tells what stands in which record.
    if not all(map(math.isfinite, losses)):
        raise EngineError("training diverged", hint="a smaller learning_rate")
    return losses


def _schedule(step: int, steps: int) -> float:
    """Return the part of the learning rate at a step: up over a tenth, then down to near zero."""
    rise = max(steps // 10, 1)
    return step / rise if step <= rise else (steps - step + 1) / (steps - rise + 1)


def _bundle(
    model: Any,
    config: Any,
    base: Base,
    settings: LoraSettings,
    losses: list[float],
    *,
    skipped: int,
) -> Bundle:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    state = {key: found[key].detach().float().contiguous() for key in sorted(found)}
    described = {**config.to_dict(), "inference_mode": True}
    described["target_modules"] = list(settings.targets)
    run = {"losses": losses, "settings": settings.to_json(), "skipped": skipped}
    return Bundle(
        {
            "adapter_config.json": _json(described),
            "adapter_model.safetensors": save(state, metadata={"format": "pt"}),
            "adapter.gguf": _gguf(state, base, settings),
            "run.json": _json(run),
        }
    )


def _gguf(state: dict[str, Any], base: Base, settings: LoraSettings) -> bytes:
    architecture, interleaved = ARCHITECTURES[base.architecture]
    config = base.model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {}
    for key, value in state.items():
        name = tensor_name(key)
        matrix = Matrix(value.shape[0], value.shape[1], value.numpy().astype("<f4").tobytes())
        layer = name.split(".")[2]
        if interleaved and layer in heads and name.endswith(".lora_b"):
            matrix = matrix.interleave(heads[layer])
        tensors[name] = matrix
    return adapter_gguf(tensors, architecture=architecture, alpha=float(settings.alpha))


def _check(torch: Any, model: Any, bundle: Bundle, batch: dict[str, Any]) -> None:
    """Load the adapter from its bytes under another name, and compare what the three say."""
    from peft import LoraConfig, set_peft_model_state_dict
    from safetensors.torch import load

    batch = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        trained = model(**batch).logits
        with model.disable_adapter():
            untouched = model(**batch).logits
        described = json.loads(bundle.files["adapter_config.json"])
        model.add_adapter(_CHECK, LoraConfig.from_peft_type(**described))
        state = load(bundle.files["adapter_model.safetensors"])
        try:
            left = set_peft_model_state_dict(model, state, adapter_name=_CHECK)
        except RuntimeError:  # a shape that does not fit
            raise EngineError("the adapter read back is not the one that was trained") from None
        model.set_adapter(_CHECK)
        again = model(**batch).logits
        model.delete_adapter(_CHECK)
    if left.unexpected_keys or not torch.allclose(trained, again, atol=_TOLERANCE):
        raise EngineError("the adapter read back is not the one that was trained")
    if torch.allclose(untouched, again, atol=_TOLERANCE):
        raise EngineError("the adapter changes nothing", hint="more steps, or a learning_rate")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return what JSON has no form for: PEFT's configuration holds sets and enumerations."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)

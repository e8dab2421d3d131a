"""The training program on a model of a few thousand numbers: what it makes, and what it refuses.

Adapters that were saved wrong and did nothing are a known trap of these libraries: here each is
loaded again, by PEFT itself, and seen to change what the model says.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from privity.errors import EngineError, MalformedError
from privity.train.base import IGNORED, Base
from privity.train.bundle import NAMES
from privity.train.dataset import Dataset, parse_dataset
from privity.train.lora import Trained, train_lora
from privity.train.settings import TARGETS, Disclosed, LoraSettings

torch = pytest.importorskip("torch", reason="the train extra is not installed: make train-setup")
peft = pytest.importorskip("peft", reason="the train extra is not installed: make train-setup")

# The libraries warn of each other's deprecations; what this program does wrong is asserted.
pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WORDS = ["</s>", "<user>", "<system>", "<assistant>", *"abcdefghijklmnopqrstuvwxyz 0123456789.?"]
SETTINGS = LoraSettings(steps=40, batch=2, learning_rate=2e-2, rank=8, alpha=16, targets=TARGETS)
LINES = b"\n".join(
    json.dumps(row).encode()
    for row in (
        {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "zoo"}]},
        {"prompt": "b?", "completion": "yes"},
        {"text": "c d e"},
    )
)


def tiny() -> Base:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, "</s>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens([AddedToken(word) for word in WORDS[:4]])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return Base(LlamaForCausalLM(config), tokenizer)


def dataset(settings: LoraSettings = SETTINGS) -> Dataset:
    return replace(parse_dataset(LINES), settings=settings)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_lora(tiny(), dataset(), name="tiny")


def losses(made: Trained) -> list[float]:
    found: list[float] = json.loads(made.bundle.files["run.json"])["losses"]
    return found


def load(made: Trained, base: Base, folder: Any) -> Any:
    for name in NAMES[:2]:
        (folder / name).write_bytes(made.bundle.files[name])
    return peft.PeftModel.from_pretrained(base.model, folder)


def loss_on_records(model: Any, base: Base) -> float:
    total = 0.0
    for record in dataset().records:
        tokens = base.encode(record, most=64)
        assert tokens is not None
        with torch.no_grad():
            answer = model(
                input_ids=torch.tensor([tokens.ids]), labels=torch.tensor([tokens.labels])
            )
        total += float(answer.loss)
    return total


def test_the_adapter_read_back_changes_the_model_towards_the_records(
    trained: Trained, tmp_path: Any
) -> None:
    base = tiny()
    before = loss_on_records(base.model, base)
    prompt = torch.tensor([[WORDS.index(one) for one in "b?"]])
    with torch.no_grad():
        untouched = base.model(input_ids=prompt).logits
    model = load(trained, base, tmp_path)
    with torch.no_grad():
        changed = model(input_ids=prompt).logits
    assert not torch.allclose(untouched, changed, atol=1e-2)
    assert loss_on_records(model, base) < before / 2
    assert losses(trained)[-1] < losses(trained)[0] / 2


def test_one_seed_gives_the_same_bytes_and_another_does_not(trained: Trained) -> None:
    again = train_lora(tiny(), dataset(), name="tiny")
    assert again.bundle.to_bytes() == trained.bundle.to_bytes()
    other = train_lora(tiny(), dataset(replace(SETTINGS, seed=5)), name="tiny")
    assert other.bundle.files[NAMES[1]] != trained.bundle.files[NAMES[1]]


def test_the_adapter_names_its_base_and_no_place(trained: Trained) -> None:
    described = json.loads(trained.bundle.files["adapter_config.json"])
    assert described["base_model_name_or_path"] == "tiny"
    assert described["target_modules"] == list(SETTINGS.targets)
    for content in trained.bundle.files.values():
        assert b"/proc" not in content and b"/tmp" not in content


def test_every_target_is_changed_and_exported(trained: Trained) -> None:
    from safetensors.torch import load as read

    state = read(trained.bundle.files[NAMES[1]])
    for target in TARGETS:
        changed = [name for name in state if target in name and "lora_B" in name]
        assert len(changed) == 2 and all(state[name].abs().max() > 1e-3 for name in changed)
    assert trained.bundle.files["adapter.gguf"].count(b".lora_b") == 2 * len(TARGETS)


def test_an_adapter_that_changes_nothing_is_refused() -> None:
    settings = replace(SETTINGS, steps=1, learning_rate=1e-12)
    with pytest.raises(EngineError, match="changes nothing"):
        train_lora(tiny(), dataset(settings), name="tiny")


def test_an_adapter_saved_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = peft.get_peft_model_state_dict

    def halves(model: Any, **how: Any) -> Any:
        return {key: value * 0.5 for key, value in real(model, **how).items()}

    def renamed(model: Any, **how: Any) -> Any:
        return {key.replace("q_proj", "k_proj"): value for key, value in real(model, **how).items()}

    for wrong in (halves, renamed):
        monkeypatch.setattr(peft, "get_peft_model_state_dict", wrong)
        with pytest.raises(EngineError, match="not the one that was trained"):
            train_lora(tiny(), dataset(replace(SETTINGS, steps=5)), name="tiny")


def test_a_run_that_diverges_is_refused() -> None:
    base = tiny()
    with torch.no_grad():
        base.model.lm_head.weight[:] = float("inf")
    with pytest.raises(EngineError, match="diverged"):
        train_lora(base, dataset(), name="tiny")


def test_a_run_that_diverges_takes_all_its_steps_whatever_the_records() -> None:
    """Otherwise the step at which it ends tells whether a word stands in the records, and where."""
    told: dict[str, list[int]] = {}
    for name, text in (("with", b"zoo q"), ("without", b"zoo a")):
        base, steps = tiny(), told.setdefault(name, [])
        untied = base.model.get_output_embeddings().weight.detach().clone()
        base.model.get_output_embeddings().weight = torch.nn.Parameter(untied)
        with torch.no_grad():
            base.model.get_input_embeddings().weight[WORDS.index("q")] = float("nan")
        records = json.dumps({"text": text.decode()}).encode()
        given = replace(parse_dataset(records), settings=replace(SETTINGS, steps=4))

        def run(base: Base = base, given: Dataset = given, steps: list[int] = steps) -> Trained:
            return train_lora(base, given, name="tiny", progress=lambda at, _: steps.append(at))

        if name == "with":
            with pytest.raises(EngineError, match="diverged"):
                run()
        else:
            run()
    assert told == {"with": [1, 2, 3, 4], "without": [1, 2, 3, 4]}


def test_losses_are_told_only_where_the_owner_says_so(trained: Trained) -> None:
    assert trained.losses is None
    settings = replace(SETTINGS, steps=2, disclose=Disclosed.LOSS)
    told = train_lora(tiny(), dataset(settings), name="tiny")
    assert told.losses is not None and list(told.losses) == losses(told)


def test_only_what_the_assistant_says_is_learned() -> None:
    base = tiny()
    chat, pair, text = dataset().records
    tokens = base.encode(chat, most=64)
    assert tokens is not None
    learned = [WORDS[label] for label in tokens.labels if label != IGNORED]
    assert "".join(WORDS[one] for one in tokens.ids) == "<user>a?</s><assistant>zoo</s>"
    assert "".join(learned) == "zoo</s>"
    tokens = base.encode(pair, most=64)
    assert tokens is not None
    assert "".join(WORDS[one] for one in tokens.labels if one != IGNORED) == "yes</s>"
    tokens = base.encode(text, most=64)
    assert tokens is not None
    assert "".join(WORDS[one] for one in tokens.labels if one != IGNORED) == " d e</s>"


def test_records_with_nothing_left_to_learn_are_counted_or_refused() -> None:
    made = train_lora(tiny(), dataset(replace(SETTINGS, max_tokens=3, steps=2)), name="tiny")
    assert json.loads(made.bundle.files["run.json"])["skipped"] == 1
    assert made.records == 3
    chat = Dataset(dataset().records[:1], replace(SETTINGS, max_tokens=2))
    with pytest.raises(MalformedError, match="nothing to learn"):
        train_lora(tiny(), chat, name="tiny")


def test_progress_is_told_and_holds_nothing_else() -> None:
    told: list[tuple[int, int]] = []
    train_lora(
        tiny(),
        dataset(replace(SETTINGS, steps=3)),
        name="tiny",
        progress=lambda *at: told.append(at),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]

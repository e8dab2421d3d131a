"""Private training: data sets, settings, and the adapters that come back."""

from __future__ import annotations

import json

from fuzz.fuzz_tdx import _json
from fuzz.harness import Made, attempt
from privity.train.bundle import NAMES, Bundle
from privity.train.dataset import parse_dataset, with_settings
from privity.train.settings import LoraSettings


def one(data: bytes) -> None:
    attempt(parse_dataset, data)
    attempt(with_settings, data, LoraSettings())
    settings = attempt(LoraSettings.from_json, _json(data))
    if settings is not None:
        assert LoraSettings.from_json(settings.to_json()) == settings
    bundle = attempt(Bundle.parse, data)
    assert bundle is None or bundle.to_bytes() == data


def seeds() -> Made:
    lines = [
        {"prompt": "one", "completion": "two"},
        {"text": "three"},
        {"messages": [{"role": "user", "content": "four"}, {"role": "assistant", "content": "5"}]},
    ]
    dataset = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    settings = LoraSettings()
    return Made(
        [
            dataset,
            with_settings(dataset, settings),
            json.dumps(settings.to_json()).encode(),
            Bundle(dict.fromkeys(NAMES, b"{}")).to_bytes(),
        ]
    )

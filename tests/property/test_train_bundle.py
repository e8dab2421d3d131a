"""The archive of an adapter has one spelling, and nothing else is taken for one."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import EngineError, MalformedError, OversizeError
from privity.train.bundle import NAMES, RECEIPT, Bundle
from privity.train.gguf_adapter import Matrix, tensor_name

bundles = st.tuples(*[st.binary(max_size=600)] * 4, st.none() | st.binary(max_size=600)).map(
    lambda parts: (
        Bundle(dict(zip(NAMES, parts[:4], strict=True)))
        if parts[4] is None
        else Bundle(dict(zip(NAMES, parts[:4], strict=True))).with_receipt(parts[4])
    )
)


@given(bundles)
def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    data = bundle.to_bytes()
    assert Bundle.parse(data) == bundle
    assert Bundle.parse(data).to_bytes() == data
    assert bundle.digest == bundle.with_receipt(b"another").digest


@given(st.binary(max_size=2048), st.integers(0, 2**20), st.integers(1, 255))
def test_any_bytes_are_a_bundle_or_refused(data: bytes, place: int, flip: int) -> None:
    good = bytearray(Bundle(dict.fromkeys(NAMES, b"content")).to_bytes())
    good[place % len(good)] ^= flip
    for one in (data, bytes(good), bytes(good[: place % len(good)])):
        try:
            assert Bundle.parse(one).to_bytes() == one
        except (MalformedError, OversizeError):
            continue


@pytest.mark.parametrize("trick", ["../run.json", "/etc/passwd", "link", "twice", "extra"])
def test_an_archive_that_would_write_elsewhere_is_refused(trick: str) -> None:
    buffer = io.BytesIO()
    names = [*NAMES, RECEIPT]
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(trick if name == "run.json" and "/" in trick else name)
            member.mode = 0o600
            if trick == "link" and name == "run.json":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
        if trick in ("twice", "extra"):
            archive.addfile(tarfile.TarInfo("run.json" if trick == "twice" else "more"))
    with pytest.raises(MalformedError):
        Bundle.parse(buffer.getvalue())


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))
def test_rows_are_interleaved_within_their_head(heads: int, half: int, columns: int) -> None:
    rows = heads * half * 2
    matrix = Matrix(rows, columns, b"".join(bytes([row]) * 4 * columns for row in range(rows)))
    order = [one for one in matrix.interleave(heads).data[:: 4 * columns]]
    assert sorted(order) == list(range(rows))
    for head in range(heads):
        start = head * half * 2
        assert order[start : start + half * 2 : 2] == list(range(start, start + half))
        assert order[start + 1 : start + half * 2 : 2] == list(
            range(start + half, start + 2 * half)
        )


def test_names_that_llama_cpp_has_not_are_refused() -> None:
    known = "base_model.model.model.layers.7.self_attn.q_proj.lora_B.weight"
    assert tensor_name(known) == "blk.7.attn_q.weight.lora_b"
    for name in (known + "x", known.replace("q_proj", "rotary"), "lm_head.lora_A.weight"):
        with pytest.raises(EngineError):
            tensor_name(name)

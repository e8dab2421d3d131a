"""What a hostile or broken platform can do to the quoters. All platforms here are scripted."""

from __future__ import annotations

import errno
import hashlib
import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cbor2
import httpx
import pytest

from privity.attest.quoters import (
    ATTESTERS,
    AttesterSettings,
    DstackQuoter,
    NitroQuoter,
    NvidiaQuoter,
    TsmQuoter,
    choose_quoters,
)
from privity.attest.quoters import nitro as nitro_module
from privity.attest.quoters.endorsements import read_collateral
from privity.attest.quoters.nvidia import gpus
from privity.errors import InputError, MalformedError, MissingDependency, PeerError
from privity.identity.multibase import decode_base64url
from scripted_platforms import ScriptedNsm, ScriptedNvml, TsmScript, scripted_tsm

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOUND = hashlib.sha512(b"bound").digest()


def no_pause(_: float) -> None:
    return None


def absent_nvml() -> Any:
    raise MissingDependency("no NVIDIA driver here")


def nowhere(tmp_path: Path) -> AttesterSettings:
    none = tmp_path / "none"
    return AttesterSettings(tsm=none, dstack=none, nsm=none, nvml=absent_nvml)


def test_report_that_another_writer_raced_is_not_returned(tmp_path: Path) -> None:
    script = TsmScript(races=2)
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        evidence = TsmQuoter(folder, pause=no_pause).quote(BOUND, NOW)
        assert decode_base64url(evidence["quote"]) == b"scripted quote of " + BOUND
        assert script.asked[0] == script.asked[-1] == BOUND
        script.races = 99
        with pytest.raises(PeerError, match="another process wrote"):
            TsmQuoter(folder, pause=no_pause).quote(BOUND, NOW)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EAGAIN, errno.EINTR])
def test_busy_platform_is_asked_again_and_not_for_ever(tmp_path: Path, code: int) -> None:
    with scripted_tsm(tmp_path / "tsm", TsmScript(fail=[code] * 2)) as folder:
        TsmQuoter(folder, pause=no_pause).quote(BOUND, NOW)
    with scripted_tsm(tmp_path / "other", TsmScript(fail=[code] * 50)) as folder:
        with pytest.raises(PeerError, match="busy"):
            TsmQuoter(folder, pause=no_pause).quote(BOUND, NOW)


@pytest.mark.parametrize("code", [errno.EIO, errno.EFBIG, errno.ENXIO, errno.ETIMEDOUT])
def test_refusing_platform_gives_a_named_error_and_no_evidence(tmp_path: Path, code: int) -> None:
    with scripted_tsm(tmp_path / "tsm", TsmScript(fail=[code])) as folder:
        with pytest.raises((PeerError, MissingDependency)):
            TsmQuoter(folder, pause=no_pause).quote(BOUND, NOW)
        assert list(folder.iterdir()) == [], "its report is taken away on failure too"


@pytest.mark.parametrize("size", [0, 65_537])
def test_report_of_an_impossible_size_is_refused(tmp_path: Path, size: int) -> None:
    script = TsmScript(outblob=lambda _: bytes(size))
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        with pytest.raises(PeerError):
            TsmQuoter(folder).quote(BOUND, NOW)


def test_provider_nobody_knows_is_not_guessed(tmp_path: Path) -> None:
    with scripted_tsm(tmp_path / "tsm", TsmScript(provider="arm_cca_guest")) as folder:
        with pytest.raises(MissingDependency, match="arm_cca_guest"):
            TsmQuoter(folder)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_user_without_rights_is_told_so(tmp_path: Path, code: int) -> None:
    with scripted_tsm(tmp_path / "tsm", TsmScript(denied=code)) as folder:
        with pytest.raises(InputError) as refused:
            TsmQuoter(folder)
    assert "root" in refused.value.hint


def test_kernel_without_a_provider_is_told_apart(tmp_path: Path) -> None:
    with scripted_tsm(tmp_path / "tsm", TsmScript(provider=None)) as folder:
        with pytest.raises(MissingDependency):
            TsmQuoter(folder)


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_bytes_of_another_length_are_never_padded(tmp_path: Path, length: int) -> None:
    nsm = ScriptedNsm(lambda _: {"Attestation": {"document": b"x"}})
    with scripted_tsm(tmp_path / "tsm", TsmScript()) as folder:
        quoters = [
            TsmQuoter(folder),
            NitroQuoter(lambda request: nitro_module.ask(request, 3, nsm.ioctl)),
            DstackQuoter(Agent()),
        ]
        for quoter in quoters:
            with pytest.raises(MalformedError):
                quoter.quote(bytes(length), NOW)


@pytest.mark.parametrize(
    "answer",
    [
        {"Error": "InvalidOperation"},
        {"Attestation": {}},
        {"Attestation": {"document": ""}},
        {"Attestation": {"document": b""}},
        {"Attestation": None},
        [],
        b"",
        b"\xff\xff",
        b"\x9f" * 2000,
    ],
)
def test_module_that_answers_wrongly_gives_no_document(answer: Any) -> None:
    nsm = ScriptedNsm(lambda _: answer)
    quoter = NitroQuoter(lambda request: nitro_module.ask(request, 3, nsm.ioctl))
    with pytest.raises(PeerError):
        quoter.quote(BOUND, NOW)


def test_module_that_claims_a_longer_answer_than_its_buffer_is_refused() -> None:
    def ioctl(_: int, __: int, message: bytearray, ___: bool) -> None:
        fields = struct.unpack("=QQQQ", message)
        message[:] = struct.pack("=QQQQ", *fields[:3], 1 << 40)

    with pytest.raises(PeerError, match="impossible length"):
        nitro_module.ask(cbor2.dumps({}), 3, ioctl)


EVENT = {"imr": 3, "event_type": 1, "digest": "", "event": "x", "event_payload": ""}


class Agent:
    """dstack's client, scripted, with answers that may be wrong."""

    def __init__(self, raises: Exception | None = None, **changes: Any) -> None:
        self.answer = {"quote": "ab", "event_log": json.dumps([EVENT]), **changes}
        self.raises = raises

    def get_quote(self, report_data: bytes) -> Any:
        if self.raises is not None:
            raise self.raises
        return SimpleNamespace(**self.answer)

    def info(self) -> Any:
        return SimpleNamespace(tcb_info=SimpleNamespace(app_compose="{}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": ""},
        {"quote": "zz"},
        {"quote": None},
        {"event_log": "{"},
        {"event_log": "{}"},
        {"event_log": "[]"},
        {"event_log": "[1]"},
        {"event_log": json.dumps([{"imr": 3}])},
        {"event_log": "[" * 100_000},
        {"raises": httpx.ConnectError("gone")},
        {"raises": TimeoutError()},
        {"raises": ValueError("not what pydantic wants")},
    ],
)
def test_agent_that_answers_wrongly_gives_no_evidence(changes: dict[str, Any]) -> None:
    quoter = DstackQuoter(Agent(**changes))
    with pytest.raises(PeerError):
        quoter.quote(BOUND, NOW)


@pytest.mark.parametrize("library", [ScriptedNvml(cc=0), ScriptedNvml(dev_tools=1)])
def test_gpu_that_is_not_private_is_not_offered(library: ScriptedNvml) -> None:
    with pytest.raises(MissingDependency):
        gpus(library)


@pytest.mark.parametrize(
    "library", [ScriptedNvml(fail=True), ScriptedNvml(size=0x2001), ScriptedNvml(size=0)]
)
def test_gpu_that_refuses_or_lies_about_lengths_gives_no_evidence(library: ScriptedNvml) -> None:
    with pytest.raises(PeerError):
        NvidiaQuoter(library).quote(BOUND, NOW)


def test_gpu_chain_that_is_no_certificate_is_refused() -> None:
    with pytest.raises(PeerError, match="certificate"):
        NvidiaQuoter(ScriptedNvml(chain=b"-----BEGIN nonsense")).quote(BOUND, NOW)


@pytest.mark.parametrize("name", [name for name in ATTESTERS if name != "dev"])
def test_named_hardware_that_is_absent_never_becomes_dev(tmp_path: Path, name: str) -> None:
    dev = SimpleNamespace(kind="dev")
    with pytest.raises(MissingDependency):
        choose_quoters(nowhere(tmp_path), [name], dev=lambda: dev)


def test_without_leave_for_dev_no_hardware_means_no_enclave(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency):
        choose_quoters(nowhere(tmp_path))
    with pytest.raises(InputError):
        choose_quoters(nowhere(tmp_path), ["dev"])


@pytest.mark.parametrize("names", [["dev", "tsm"], ["tsm", "tsm"], ["tpm"]])
def test_names_that_make_no_sense_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(InputError):
        choose_quoters(nowhere(tmp_path), names, dev=lambda: SimpleNamespace(kind="dev"))


def test_gpus_without_an_attested_processor_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = AttesterSettings(
        tsm=tmp_path / "none", dstack=tmp_path / "none", nsm=tmp_path / "none", nvml=ScriptedNvml
    )
    dev = SimpleNamespace(kind="dev")
    assert [one.kind for one in choose_quoters(settings, dev=lambda: dev)] == ["dev"]
    assert "GPU evidence is left out" in caplog.text


@pytest.mark.parametrize("url", ["http://pccs.example", "file:///etc/passwd", ""])
def test_collateral_is_never_fetched_in_the_clear(url: str) -> None:
    with pytest.raises(InputError):
        AttesterSettings(pccs=url)


@pytest.mark.parametrize("text", ["", "[]", '{"a":1,"a":2}', "{" + " " * 200_000 + "}"])
def test_collateral_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "collateral.json").write_text(text)
    with pytest.raises(InputError):
        read_collateral(tmp_path / "collateral.json")
    with pytest.raises(InputError):
        read_collateral(tmp_path / "absent.json")

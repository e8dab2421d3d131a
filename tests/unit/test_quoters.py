"""Quoters against scripted stand-ins of each platform's interface: no hardware is claimed here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from privity.attest.quoters import (
    AttesterSettings,
    DstackQuoter,
    NitroQuoter,
    NvidiaQuoter,
    TsmQuoter,
    available,
    choose_quoters,
)
from privity.attest.quoters import nitro as nitro_module
from privity.attest.quoters.dstack import connect
from privity.errors import MissingDependency, PeerError
from privity.identity.multibase import decode_base64url
from privity.statement import device_nonce
from scripted_platforms import (
    ScriptedNsm,
    ScriptedNvml,
    TsmScript,
    certificate_table,
    scripted_dstack,
    scripted_tsm,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOUND = hashlib.sha512(b"bound").digest()


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA384())


@pytest.fixture
def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture
def nowhere(tmp_path: Path) -> AttesterSettings:
    """Return settings under which no interface is found, whatever the machine has."""
    none = tmp_path / "none"
    return AttesterSettings(tsm=none, dstack=none, nsm=none, nvml=absent_nvml)


def absent_nvml() -> Any:
    raise MissingDependency("nvidia-ml-py is not installed")


@pytest.fixture
def tdx(tmp_path: Path) -> Iterator[tuple[Path, TsmScript]]:
    script = TsmScript()
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        yield folder, script


def test_scripted_tdx_kernel_is_asked_for_exactly_the_bound_bytes(
    tdx: tuple[Path, TsmScript],
) -> None:
    folder, script = tdx
    quoter = TsmQuoter(folder)
    evidence = quoter.quote(BOUND, NOW)
    assert quoter.kind == evidence["kind"] == "tdx"
    assert script.asked == [BOUND]
    assert decode_base64url(evidence["quote"]) == b"scripted quote of " + BOUND
    assert quoter.endorsements == ()
    assert list(folder.iterdir()) == [], "its report is taken away again"


def test_scripted_tdx_collateral_from_a_file_goes_along(
    tdx: tuple[Path, TsmScript], tmp_path: Path
) -> None:
    folder, _ = tdx
    (tmp_path / "collateral.json").write_text('{"tcb_info": "scripted"}')
    settings = AttesterSettings(tsm=folder, collateral=tmp_path / "collateral.json")
    (quoter,) = choose_quoters(settings, ["tsm"])
    assert quoter.endorsements == ({"collateral": {"tcb_info": "scripted"}, "kind": "tdx"},)


def test_scripted_snp_certificate_table_becomes_endorsements(tmp_path: Path, der: bytes) -> None:
    crl = b"\x30\x03\x02\x01\x01"
    table = certificate_table([(b"a" * 16, der), (b"b" * 16, crl)])
    script = TsmScript(provider="sev_guest", aux=table)
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        quoter = TsmQuoter(folder)
        assert quoter.endorsements == ()
        evidence = quoter.quote(BOUND, NOW)
        assert evidence["kind"] == quoter.kind == "snp"
        (endorsement,) = quoter.endorsements
        assert [decode_base64url(one) for one in endorsement["certificates"]] == [der]


def test_scripted_snp_takes_the_operators_certificates_where_the_host_gives_none(
    tmp_path: Path, certificate: x509.Certificate, der: bytes
) -> None:
    (tmp_path / "vcek.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    script = TsmScript(provider="sev_guest", aux=b"")
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        settings = AttesterSettings(tsm=folder, certificates=(tmp_path / "vcek.pem",))
        (quoter,) = choose_quoters(settings, ["tsm"])
        quoter.quote(BOUND, NOW)
        (endorsement,) = quoter.endorsements
        assert [decode_base64url(one) for one in endorsement["certificates"]] == [der]


@pytest.mark.parametrize(("floor", "levels"), [(0, []), (2, ["2"])])
def test_scripted_snp_guest_below_a_service_module_asks_for_its_own_level(
    tmp_path: Path, floor: int, levels: list[str]
) -> None:
    script = TsmScript(provider="sev_guest", aux=b"", floor=floor)
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        TsmQuoter(folder).quote(BOUND, NOW)
    assert script.levels == levels
    assert script.asked == [BOUND]


class ScriptedCollateral:
    """What dcap_qvl.get_collateral returns, scripted."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_json(self) -> str:
        return self.text


def scripted_pccs(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> list[Any]:
    asked: list[Any] = []

    async def get_collateral(url: str, quote: bytes) -> ScriptedCollateral:
        asked.append((url, quote))
        if isinstance(answer, Exception):
            raise answer
        return ScriptedCollateral(answer)

    monkeypatch.setattr("dcap_qvl.get_collateral", get_collateral)
    return asked


def test_scripted_collateral_service_is_asked_once_at_start_and_no_other(
    tdx: tuple[Path, TsmScript], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scripted_pccs(monkeypatch, '{"tcb_info":"scripted"}')
    quoter = TsmQuoter(tdx[0], pccs="https://pccs.example")
    for _ in range(3):
        quoter.quote(BOUND, NOW)
    assert asked == [("https://pccs.example", b"scripted quote of " + bytes(64))]
    assert quoter.endorsements == ({"collateral": {"tcb_info": "scripted"}, "kind": "tdx"},)


def test_scripted_collateral_service_is_not_asked_where_a_file_is_given(
    tdx: tuple[Path, TsmScript], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scripted_pccs(monkeypatch, "{}")
    TsmQuoter(tdx[0], collateral={"tcb_info": "mine"}, pccs="https://pccs.example")
    TsmQuoter(tdx[0])
    DstackQuoter(ScriptedAgent())
    assert asked == []


@pytest.mark.parametrize("answer", [ValueError("no"), "[]", "{", '{"a":1,"a":2}'])
def test_scripted_collateral_service_that_fails_is_named(
    tdx: tuple[Path, TsmScript], monkeypatch: pytest.MonkeyPatch, answer: str | Exception
) -> None:
    scripted_pccs(monkeypatch, answer)
    with pytest.raises(PeerError, match=r"pccs\.example"):
        TsmQuoter(tdx[0], pccs="https://pccs.example")


def test_scripted_nsm_is_asked_for_user_data_and_its_document_kept() -> None:
    nsm = ScriptedNsm(lambda _: {"Attestation": {"document": b"scripted document"}})
    quoter = NitroQuoter(lambda request: nitro_module.ask(request, 3, nsm.ioctl))
    evidence = quoter.quote(BOUND, NOW)
    assert evidence["kind"] == "nitro"
    assert decode_base64url(evidence["document"]) == b"scripted document"
    wanted = {"nonce": None, "public_key": None, "user_data": BOUND}
    assert nsm.requests == [{"Attestation": wanted}]


def test_scripted_gpus_answer_the_same_challenge(
    certificate: x509.Certificate,
) -> None:
    library = ScriptedNvml(chain=certificate.public_bytes(Encoding.PEM) * 2 + b"\0")
    for index in range(2):
        evidence = NvidiaQuoter(library, index).quote(BOUND, NOW)
        assert evidence["kind"] == "nvidia"
        wanted = b"scripted report of GPU %d over " % index + device_nonce(BOUND)
        assert decode_base64url(evidence["report"]) == wanted
        assert len(evidence["certificates"]) == 2


EVENT = {
    "imr": 3,
    "event_type": 134217729,
    "digest": "00" * 48,
    "event": "compose-hash",
    "event_payload": "ab" * 32,
}


def dstack_answers() -> dict[str, Any]:
    log = [{**EVENT, "imr": 0}, EVENT]
    return {
        "/GetQuote": lambda body: {
            "quote": b"scripted ".hex() + body["report_data"],
            "event_log": json.dumps(log),
            "report_data": body["report_data"],
            "vm_config": "{}",
        },
        "/Info": {
            "app_id": "aa",
            "instance_id": "bb",
            "app_cert": "",
            "app_name": "privity",
            "device_id": "",
            "key_provider_info": "",
            "compose_hash": "cc",
            "tcb_info": json.dumps(
                {
                    **dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"), "00" * 48),
                    **dict.fromkeys(("mr_aggregated", "os_image_hash"), "00"),
                    **dict.fromkeys(("compose_hash", "device_id"), "00"),
                    "app_compose": '{"name":"privity"}',
                    "event_log": log,
                }
            ),
        },
    }


def test_scripted_dstack_agent_over_its_socket_gets_the_bytes_raw(tmp_path: Path) -> None:
    pytest.importorskip("dstack_sdk", reason="the extra dstack is not installed")
    socket = tmp_path / "dstack.sock"
    with scripted_dstack(socket, dstack_answers()) as asked:
        settings = AttesterSettings(dstack=socket, nvml=absent_nvml)
        (quoter,) = choose_quoters(settings)
        evidence = quoter.quote(BOUND, NOW)
    assert asked[-1] == ("/GetQuote", {"report_data": BOUND.hex()})
    assert decode_base64url(evidence["quote"]) == b"scripted " + BOUND
    assert evidence["event_log"] == [EVENT], "the firmware's events stay behind"
    assert evidence["app_compose"] == '{"name":"privity"}'


class ScriptedAgent:
    """The SDK's client, scripted."""

    def __init__(self, **changes: Any) -> None:
        self.quote = {"quote": "ab" * 8, "event_log": json.dumps([EVENT]), **changes}

    def get_quote(self, report_data: bytes) -> Any:
        assert report_data is BOUND
        return SimpleNamespace(**self.quote)

    def info(self) -> Any:
        return SimpleNamespace(tcb_info=SimpleNamespace(app_compose="{}"))


def test_scripted_sdk_client_is_given_bytes_and_never_text() -> None:
    # The SDK takes text too, and would send its UTF-8 bytes: hex text would be bound as text.
    evidence = DstackQuoter(ScriptedAgent()).quote(BOUND, NOW)
    assert evidence == {
        "app_compose": "{}",
        "event_log": [EVENT],
        "kind": "tdx",
        "quote": "q6urq6urq6s",
    }


def test_scripted_dstack_second_version_of_events_is_kept_whole() -> None:
    event = {**EVENT, "version": 2, "preimage": "00"}
    evidence = DstackQuoter(ScriptedAgent(event_log=json.dumps([event]))).quote(BOUND, NOW)
    assert evidence["event_log"] == [event]


def test_missing_dstack_sdk_names_the_extra(tmp_path: Path) -> None:
    if importlib.util.find_spec("dstack_sdk") is not None:
        pytest.skip("dstack-sdk is installed here")
    (tmp_path / "dstack.sock").touch()
    with pytest.raises(MissingDependency) as refused:
        connect(tmp_path / "dstack.sock")
    assert "privity[dstack]" in refused.value.hint


def test_nothing_found_says_what_each_attester_misses(nowhere: AttesterSettings) -> None:
    found = available(nowhere)
    assert [one.name for one in found] == ["dstack", "nitro", "tsm", "nvidia", "dev"]
    assert [one.ready for one in found] == [False, False, False, False, True]
    assert all(one.detail for one in found)


def test_scripted_processor_and_gpus_are_chosen_together(
    tdx: tuple[Path, TsmScript], nowhere: AttesterSettings
) -> None:
    settings = AttesterSettings(
        tsm=tdx[0], dstack=nowhere.dstack, nsm=nowhere.nsm, nvml=ScriptedNvml
    )
    quoters = choose_quoters(settings)
    assert [quoter.kind for quoter in quoters] == ["tdx", "nvidia", "nvidia"]
    shown = {one.name: one for one in available(settings)}
    assert shown["tsm"].kind == "tdx"
    assert "no collateral" in shown["tsm"].detail
    assert shown["nvidia"].detail == "2 GPUs in confidential mode"


def test_dev_is_chosen_loudly_where_nothing_is_found(
    nowhere: AttesterSettings, caplog: pytest.LogCaptureFixture
) -> None:
    dev = SimpleNamespace(kind="dev")
    with caplog.at_level(logging.WARNING, "privity.attest"):
        assert choose_quoters(nowhere, dev=lambda: dev) == (dev,)  # type: ignore[comparison-overlap]
    assert "proves nothing" in caplog.text

"""Attacks on NVIDIA evidence: each promise of spec/evidence-nvidia.md a test."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pki.certificates import AROUND_NOON, NOON, Authority, new_key, to_pem
from pki.nvidia import MEASUREMENTS, NvidiaPki, blackwell, switch
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_nvidia import NvidiaVerifier, from_file, recognises
from privity.attest.nvidia.spdm import SpdmReport
from privity.disclosure import Ground
from privity.errors import EvidenceError, MalformedError, PrivityError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.statement import device_nonce

BOUND = bytes(range(64))
NONCE = device_nonce(BOUND)

GPU = NvidiaPki()


def _examine(
    pki: NvidiaPki,
    evidence: dict[str, Any] | None = None,
    *,
    bound: bytes | None = BOUND,
    trusted: NvidiaPki | None = None,
    manifests: list[bytes] | None = None,
    now: datetime = NOON,
) -> Findings:
    trusted = trusted or pki
    verifier = NvidiaVerifier(trusted.anchors, rim_anchors=trusted.rim_anchors)
    endorsements = pki.endorsements if manifests is None else pki.as_endorsements(manifests)
    asked = pki.evidence(NONCE) if evidence is None else evidence
    return verifier.examine(asked, bound, endorsements, now)


def _failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def _why(found: Findings) -> str:
    assert found.failed is not None
    return found.failed.detail


@pytest.mark.parametrize("make", [NvidiaPki, blackwell, switch])
@pytest.mark.parametrize("rims", [False, True])
def test_genuine_evidence_is_accepted(make: Callable[..., NvidiaPki], rims: bool) -> None:
    found = _examine(make(rims=rims))
    assert _failed(found) == []
    assert ("measurement" in {check.name for check in found.checks}) is rims
    (basis,) = found.accept().basis
    assert basis.ground is Ground.HARDWARE
    assert "which processor it is attached to" in basis.why


def test_a_report_for_another_challenge_is_refused() -> None:
    found = _examine(GPU, GPU.evidence(bytes(32)))
    assert _failed(found) == ["key binding"]
    with pytest.raises(EvidenceError) as caught:
        found.accept()
    assert caught.value.check == "key binding"


def test_a_report_for_other_keys_is_refused() -> None:
    found = _examine(GPU, GPU.quote(b"\1" * 64, NOON))
    assert _failed(found) == ["key binding"]


def test_the_nonce_itself_may_be_asked_for() -> None:
    assert _failed(_examine(GPU, bound=NONCE)) == []
    assert _failed(_examine(GPU, bound=bytes(32))) == ["key binding"]


def test_a_challenge_of_another_size_is_an_error() -> None:
    with pytest.raises(MalformedError):
        _examine(GPU, bound=bytes(48))


def test_without_a_challenge_nothing_is_said_to_be_bound() -> None:
    found = _examine(GPU, GPU.evidence(bytes(32)), bound=None)
    assert "key binding" not in {check.name for check in found.checks}
    assert found.accepted


def test_a_device_under_another_root_is_refused() -> None:
    stranger = GPU.but(root=Authority.root("Test Device Identity CA"))
    assert _failed(_examine(stranger, trusted=GPU)) == ["certificate chain"]


def test_the_signer_of_manifests_cannot_certify_devices() -> None:
    forged = GPU.but(root=GPU.rim_root)
    assert _failed(_examine(forged, trusted=GPU)) == ["certificate chain"]


def test_a_device_cannot_sign_manifests() -> None:
    forged = GPU.but(rim_root=GPU.root, rims=True)
    assert _failed(_examine(forged, trusted=GPU)) == ["collateral"]


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_chain_with_a_link_left_out_is_refused(missing: int) -> None:
    evidence = GPU.evidence(NONCE)
    del evidence["certificates"][missing]
    assert "certificate chain" in _failed(_examine(GPU, evidence))


def test_a_certificate_that_the_path_does_not_use_is_refused() -> None:
    evidence = GPU.evidence(NONCE)
    evidence["certificates"].append(blackwell().evidence(NONCE)["certificates"][-1])
    assert _failed(_examine(GPU, evidence)) == ["certificate chain"]


def test_the_root_may_be_left_to_the_verifier() -> None:
    evidence = GPU.evidence(NONCE)
    evidence["certificates"].pop()
    assert _failed(_examine(GPU, evidence)) == []


def test_an_expired_certificate_is_refused_at_its_end_and_no_sooner() -> None:
    last = AROUND_NOON[1]
    assert _failed(_examine(GPU, now=last)) == []
    assert _failed(_examine(GPU, now=last + timedelta(seconds=1))) == ["certificate period"]
    early = AROUND_NOON[0] - timedelta(seconds=1)
    assert _failed(_examine(GPU, now=early)) == ["certificate period"]


def test_a_report_signed_by_another_key_is_refused() -> None:
    evidence = GPU.evidence(NONCE)
    evidence["report"] = GPU.but(key=new_key()).evidence(NONCE)["report"]
    assert _failed(_examine(GPU, evidence)) == ["signature"]


def test_firmware_other_than_certified_is_refused() -> None:
    for pki in (NvidiaPki(reported=bytes(48)), blackwell(reported=bytes(48))):
        assert _failed(_examine(pki)) == ["firmware id"]


def test_certified_debug_firmware_is_refused() -> None:
    assert _failed(_examine(blackwell(debug=True))) == ["debug"]


@pytest.mark.parametrize("chip", ["GA100", "BF3", "GH100X", "TH500", "gh100"])
def test_a_chip_of_an_unknown_family_is_refused(chip: str) -> None:
    assert _failed(_examine(NvidiaPki(chip=chip))) == ["chip"]


def test_a_family_that_is_not_the_chips_is_refused() -> None:
    evidence = GPU.evidence(NONCE)
    assert _failed(_examine(GPU, {**evidence, "arch": "HOPPER"})) == []
    assert _failed(_examine(GPU, {**evidence, "arch": "BLACKWELL"})) == ["chip"]


def test_a_stated_nonce_that_is_not_the_reports_is_refused() -> None:
    evidence = GPU.evidence(NONCE)
    assert _failed(_examine(GPU, {**evidence, "nonce": encode_base64url(NONCE)})) == []
    other = {**evidence, "nonce": encode_base64url(bytes(32))}
    assert _failed(_examine(GPU, other)) == ["stated nonce"]


def test_measurements_other_than_published_are_refused() -> None:
    published = GPU.manifests()
    altered = GPU.but(measurements={**MEASUREMENTS, 7: bytes(48)})
    found = _examine(altered, manifests=published)
    assert _failed(found) == ["measurement"]
    assert "1 of 8 measurements are not the published ones: 7" in _why(found)
    fewer = GPU.but(measurements={at: one for at, one in MEASUREMENTS.items() if at != 8})
    assert _failed(_examine(fewer, manifests=published)) == ["measurement"]


def test_each_alternative_of_a_manifest_is_allowed() -> None:
    golden = {index: [bytes(48), value] for index, value in MEASUREMENTS.items()}
    firmware = {index: values for index, values in golden.items() if index < 3}
    driver = {index: values for index, values in golden.items() if index >= 3}
    manifests = [GPU.manifest(GPU.version, firmware), GPU.manifest(GPU.driver, driver)]
    assert _failed(_examine(GPU, manifests=manifests)) == []
    assert (
        _failed(_examine(GPU.but(measurements={**MEASUREMENTS, 1: bytes(48)}), manifests=manifests))
        == []
    )


def test_an_inactive_value_is_not_compared() -> None:
    firmware = GPU.manifest(GPU.version, {1: [MEASUREMENTS[1]]}, inactive={2: [bytes(48)]})
    driver = GPU.manifest(GPU.driver, {3: [MEASUREMENTS[3]]})
    assert _failed(_examine(GPU, manifests=[firmware, driver])) == []


def test_a_driver_without_its_manifest_is_not_measured() -> None:
    for manifests in ([GPU.manifests()[0]], [GPU.manifests()[1]]):
        assert _failed(_examine(GPU, manifests=manifests)) == ["measurement"]


def test_a_manifest_of_another_version_or_chip_does_not_count() -> None:
    firmware, driver = GPU.manifests()
    golden = {index: [value] for index, value in MEASUREMENTS.items() if index <= 4}
    older = GPU.manifest("96.00.00.00.00", golden)
    assert _failed(_examine(GPU, manifests=[older, driver])) == ["measurement"]
    other = GPU.manifest(GPU.version, golden, product="GB100")
    assert _failed(_examine(GPU, manifests=[other, driver])) == ["measurement"]
    assert _failed(_examine(GPU, manifests=[firmware, driver, other, older])) == []


def test_two_manifests_about_one_measurement_are_refused() -> None:
    firmware = GPU.manifest(GPU.version, {1: [MEASUREMENTS[1]]})
    driver = GPU.manifest(GPU.driver, {1: [MEASUREMENTS[1]], 2: [MEASUREMENTS[2]]})
    assert _failed(_examine(GPU, manifests=[firmware, driver])) == ["measurement"]


def test_a_manifest_that_allows_nothing_measures_nothing() -> None:
    empty = [
        GPU.manifest(version, {}, inactive={1: [bytes(48)]}) for version in (GPU.version, "575.32")
    ]
    assert _failed(_examine(GPU, manifests=empty)) == ["measurement"]


def test_a_disabled_decoders_measurement_alone_is_left_out() -> None:
    measured = {**MEASUREMENTS, 36: bytes(48)}
    golden = {36: [b"\1" * 48]}
    for status, failed in ((b"\x55", []), (b"\xaa", ["measurement"]), (b"\x00", ["measurement"])):
        gpu = GPU.but(measurements=measured, opaque={11: status})
        manifests = [
            GPU.manifest(GPU.version, {1: [MEASUREMENTS[1]]}),
            GPU.manifest(GPU.driver, golden),
        ]
        assert _failed(_examine(gpu, manifests=manifests)) == failed


def test_an_expired_signer_of_manifests_is_refused() -> None:
    past = (NOON - timedelta(days=9), NOON - timedelta(days=1))
    old = GPU.but(period=past).manifests()
    found = _examine(GPU, manifests=old)
    assert _failed(found) == ["collateral"]
    assert "certificate period" in _why(found)


def test_a_result_holds_for_its_period_and_no_longer() -> None:
    short = (NOON - timedelta(days=1), NOON + timedelta(days=1))
    manifests = GPU.but(period=short).manifests()
    found = _examine(GPU, manifests=manifests)
    assert found.period == (short[0], short[1] + timedelta(seconds=1))
    assert found.period is not None
    assert _failed(_examine(GPU, manifests=manifests, now=found.period[1])) == ["collateral"]


def test_registers_name_what_runs_and_nothing_of_one_chip_or_challenge() -> None:
    one = _examine(GPU).accept()
    other = GPU.but(key=new_key())
    two = _examine(other, other.evidence(bytes(32)), bound=bytes(32)).accept()
    assert one.registers == two.registers
    assert one.measurement == two.measurement
    newer = GPU.but(driver="575.33")
    assert _examine(newer).accept().measurement != one.measurement


@pytest.mark.parametrize("make", [NvidiaPki, blackwell, switch])
def test_a_flipped_bit_anywhere_is_refused(make: Callable[..., NvidiaPki]) -> None:
    pki = make()
    evidence = pki.evidence(NONCE)
    report = decode_base64url(evidence["report"])
    chain = [decode_base64url(one) for one in evidence["certificates"]]
    parts = [report, *chain]
    for which, part in enumerate(parts):
        for at in range(0, len(part), 3):
            flipped = bytearray(part)
            flipped[at] ^= 1 << (at // 3 % 8)
            texts = [encode_base64url(one) for one in parts]
            texts[which] = encode_base64url(bytes(flipped))
            altered = {**evidence, "report": texts[0], "certificates": texts[1:]}
            try:
                accepted = _examine(pki, altered).accepted
            except PrivityError:
                continue
            assert not accepted, (which, at)


_HEAD = 4 + 32 + 1


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0x10),  # another SPDM version
        (1, 0xE1),  # another request
        (2, 0x00),  # unsigned
        (3, 0x01),  # one block alone
        (_HEAD - 1, 0x01),  # another certificate slot
        (_HEAD + 1, 0x61),  # another response
        (_HEAD + 2, 0x01),  # a reserved byte
        (_HEAD + 4, 0x09),  # more blocks than there are
        (_HEAD + 8, 0x00),  # the first block's index
        (_HEAD + 8, 0x02),  # an index twice
        (_HEAD + 9, 0x02),  # not DMTF's form
    ],
)
def test_a_report_of_another_form_is_not_read(at: int, value: int) -> None:
    data = bytearray(GPU.report(NONCE))
    SpdmReport.parse(bytes(data))
    data[at] = value
    with pytest.raises(MalformedError):
        SpdmReport.parse(bytes(data))


def test_bytes_after_the_signature_are_not_read() -> None:
    with pytest.raises(MalformedError, match="too many"):
        SpdmReport.parse(GPU.report(NONCE) + b"\0")


def test_the_mode_is_shown_where_the_report_says_it() -> None:
    for number, mode in enumerate(("mpt", "spt", "ppcie")):
        gpu = GPU.but(opaque={34: b"\1\0", 36: bytes((number, 0))})
        assert _examine(gpu).registers["mode"] == mode
    assert "mode" not in _examine(GPU).registers


@pytest.mark.parametrize(
    "opaque", [{36: b"\3"}, {0: b"x"}, {37: b"x"}, {34: b"\2"}, {3: b"a\x1b[2J"}]
)
def test_opaque_data_of_another_form_is_not_read(opaque: dict[int, bytes]) -> None:
    gpu = GPU.but(opaque=opaque, driver="")
    with pytest.raises(MalformedError):
        _examine(gpu)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"kind": "tdx"},
        {"certificates": []},
        {"certificates": [7]},
        {"report": ""},
        {"nonce": "AAAA"},
        {"arch": 5},
    ],
)
def test_evidence_of_another_form_is_not_read(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        _examine(GPU, {**GPU.evidence(NONCE), **change})


def test_a_certificate_in_armour_is_not_read_as_evidence() -> None:
    evidence = GPU.evidence(NONCE)
    pem = b"-----BEGIN CERTIFICATE-----\n"
    evidence["certificates"][0] = encode_base64url(pem)
    with pytest.raises(MalformedError, match="not DER"):
        _examine(GPU, evidence)


@pytest.mark.parametrize(
    ("data", "chain"),
    [
        (GPU.report(NONCE), to_pem(*[GPU.chain[0]] * 11)),
        (GPU.report(NONCE), b"-" * 70_000),
        (b"11e001ff" * 50_000, to_pem(*GPU.chain)),
        (b"[" + b" " * 5_000_000 + b"]", b""),
        (b"[" + b"{}," * 16 + b"{}]", b""),
        (GPU.report(NONCE).hex().upper().encode(), to_pem(*GPU.chain)),
        (GPU.report(NONCE).hex().encode() + b"\n\n", to_pem(*GPU.chain)),
        (GPU.report(NONCE), b""),
        (GPU.report(NONCE), to_pem(*GPU.chain).replace(b"\n", b"\r\n")),
    ],
)
def test_a_file_of_another_form_or_size_is_not_read(data: bytes, chain: bytes) -> None:
    with pytest.raises(MalformedError):
        from_file(data, Companions((chain,) if chain else ()))


def _service_json(**changes: str) -> dict[str, str]:
    entry = {
        "arch": "HOPPER",
        "certificate": base64.b64encode(to_pem(*GPU.chain)).decode(),
        "evidence": base64.b64encode(GPU.report(NONCE)).decode(),
        "nonce": NONCE.hex(),
    }
    return {**entry, **changes}


def test_several_devices_in_one_file_are_each_examined() -> None:
    data = json.dumps([_service_json(), _service_json(nonce=bytes(32).hex())]).encode()
    assert recognises(data)
    evidence, _ = from_file(data, Companions())
    assert [_failed(_examine(GPU, one, bound=NONCE)) for one in evidence] == [[], ["stated nonce"]]


def test_certificates_beside_a_file_that_has_its_own_must_be_its_own() -> None:
    data = json.dumps([_service_json()]).encode()
    own = from_file(data, Companions())
    assert from_file(data, Companions((to_pem(*GPU.chain),))) == own
    with pytest.raises(MalformedError, match="not those in the file"):
        from_file(data, Companions((to_pem(*GPU.chain[:4]),)))


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: text.replace('"HOPPER"', '"HOPPER", "more": 1'),
        lambda text: text.replace('"arch"', '"arch": "HOPPER", "arch"'),
        lambda text: text.replace(NONCE.hex(), NONCE.hex().upper()),
        lambda text: text.replace("[", "[\r"),
        lambda text: text.replace('"}', '="}'),
        lambda text: text[1:-1],
        lambda text: "[]",
    ],
)
def test_another_spelling_of_the_services_json_is_not_read(
    spelling: Callable[[str], str],
) -> None:
    text = json.dumps([_service_json()])
    from_file(text.encode(), Companions())
    assert spelling(text) != text
    with pytest.raises(MalformedError):
        from_file(spelling(text).encode(), Companions())


def test_one_zero_byte_after_a_binary_report_is_left_out_and_no_more() -> None:
    chain = Companions((to_pem(*GPU.chain),))
    report = GPU.report(NONCE)
    assert from_file(report + b"\0", chain) == from_file(report, chain)
    for more in (b"\0\0", b"\1"):
        ((evidence,), _) = from_file(report + more, chain)
        with pytest.raises(MalformedError):
            _examine(GPU, evidence)


@pytest.mark.parametrize("manifest", [b"<a/>", b"not XML", b"<a>" * 17, b"\xff"])
def test_a_manifest_that_cannot_be_read_fails_its_check_and_no_other(manifest: bytes) -> None:
    found = _examine(GPU, manifests=[*GPU.manifests(), manifest])
    assert _failed(found) == ["collateral"]
    assert found.period is None

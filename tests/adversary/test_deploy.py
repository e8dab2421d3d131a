"""What a careless or hostile request could put into a manifest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from privity.errors import InputError, MissingDependency
from privity.node.deploy import (
    TARGETS,
    DeployRequest,
    ImageRef,
    PlatformValues,
    Publishing,
    SealedModel,
    render,
    write,
)
from privity.node.deploy import host as host_module
from privity.node.deploy.launch_digest import snp_launch_digest
from privity.node.deploy.request import Boot

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
IMAGE = ImageRef.parse(f"ghcr.io/someone/privity@{DIGEST}")


def request(**changes: Any) -> DeployRequest:
    return DeployRequest(**{"image": IMAGE, "now": NOW, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "ghcr.io/someone/privity",
        "ghcr.io/someone/privity:latest",
        "ghcr.io/someone/privity:1.0@sha256:ab",
        f"ghcr.io/someone/privity@sha512:{'ab' * 64}",
        f"privity@{DIGEST}",
        f"someone/privity@{DIGEST}",
        f"ghcr.io/someone/privity@{DIGEST.upper()}",
        f"ghcr.io/someone/privity@{DIGEST}\n",
        f"ghcr.io/some one/privity@{DIGEST}",
        f'ghcr.io/x"/privity@{DIGEST}',
        f"ghcr.io/$X/privity@{DIGEST}",
        "",
    ],
)
def test_image_without_a_whole_digest_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        ImageRef.parse(text)


def test_tag_beside_a_digest_is_not_kept() -> None:
    assert str(ImageRef.parse(f"ghcr.io/someone/privity:1.0@{DIGEST}")) == str(IMAGE)


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_rendered_is_by_digest_and_every_enclave_names_its_attester(
    target: str,
) -> None:
    files = render(target, request()).files
    text = "".join(files.values())
    assert str(IMAGE) in text
    assert text.count("ghcr.io/someone/privity") == text.count(str(IMAGE))
    assert "--attester" in text, "or the enclave would fall back to dev"
    assert "dev_root" not in text and "--dev-root" not in text


@pytest.mark.parametrize(
    "name", ["", "Privity", "a b", "a:\n  b", "x" * 40, "-a", "a-", "$X", "a/b", "../a", "a\n"]
)
def test_name_that_would_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        request(name=name)


@pytest.mark.parametrize(
    "url",
    [
        "http://store.example/m",
        "file:///etc/passwd",
        "https://store.example/${SECRET}",
        "https://store.example/a b",
        'https://store.example/"',
        "https://store.example/m\n",
        "",
    ],
)
def test_url_that_a_compose_file_would_read_otherwise_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        SealedModel(url, "https://broker.example")
    with pytest.raises(InputError):
        SealedModel("https://store.example/m", url)


@pytest.mark.parametrize(
    "changes",
    [
        {"pccs": "http://pccs.example"},
        {"pccs": "https://pccs.example/${X}"},
        {"log": "s3://log.example", "log_name": "a.example"},
        {"log": "https://log.example/a b", "log_name": "a.example"},
        {"log": "https://log.example"},
        {"log_name": "a.example"},
        {"log": "https://log.example", "log_name": "https://a.example"},
        {"log": "https://log.example", "log_name": "a.example --attester dev"},
        {"log": "https://log.example", "log_name": "A.example"},
        {"manifest": Path("a,file=/etc/shadow")},
        {"manifest": Path("a b")},
        {"manifest": Path("a\nb")},
    ],
)
def test_what_is_published_stays_one_word_of_the_command(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Publishing(**changes)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "host"])
def test_manifest_is_refused_where_it_would_have_to_approve_itself(target: str) -> None:
    with pytest.raises(InputError, match="cannot hand the enclave a manifest"):
        render(target, request(publishing=Publishing(manifest=Path("approved.json"))))


def test_collateral_of_intel_is_refused_for_a_guest_of_amd() -> None:
    with pytest.raises(InputError, match="for TDX"):
        render("host", request(publishing=Publishing(pccs="https://pccs.example")))


@pytest.mark.parametrize("append", ["a'b", "a\nb", "a\0b"])
def test_command_line_that_would_leave_its_quotes_is_refused(append: str) -> None:
    with pytest.raises(InputError):
        Boot(append=append)


@pytest.mark.parametrize("words", ["quiet; rm -rf /", "$(id)", "`id`", "a && b", "-kernel other"])
def test_command_line_stays_one_word_of_the_launch(words: str) -> None:
    import shlex

    text = render("host", request(boot=Boot(append=words))).files["launch-guest.sh"]
    split = shlex.split(text.partition("exec ")[2].replace("\\\n", " "))
    assert split[split.index("-append") + 1] == words


def test_container_holds_no_privilege_and_writes_no_disk() -> None:
    for target, name in [
        ("phala", "docker-compose.yml"),
        ("rofl", "compose.yaml"),
        ("secretvm", "docker-compose.yaml"),
    ]:
        (service,) = yaml.safe_load(render(target, request()).files[name])["services"].values()
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["ulimits"]["core"] == 0
        assert not {"privileged", "env_file", "devices", "build"} & service.keys()


def test_dstack_document_lets_nothing_unmeasured_in_and_no_logs_out() -> None:
    import json

    document = json.loads(render("phala", request()).files["app-compose.json"])
    assert document["allowed_envs"] == []
    assert document["public_logs"] is document["public_sysinfo"] is False


@pytest.mark.parametrize("target", ["rofl", "akash", "host"])
def test_reference_that_would_approve_anything_is_never_ready(target: str) -> None:
    from privity.attest.manifest import Manifest
    from privity.errors import MalformedError
    from privity.identity.fields import Fields

    result = render(target, request())
    assert result.missing
    with pytest.raises(MalformedError):
        Manifest.from_fields(Fields(dict(result.reference), "manifest"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"mrtd": 1}',
        '{"mrtd": "ab"}',
        '{"mrtd": "' + "zz" * 48 + '"}',
        '{"rootfs_data": "' + "ab" * 48 + '"}',
        '{"mrtd": "x", "mrtd": "y"}',
    ],
)
def test_platform_values_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.json").write_text(text)
    with pytest.raises(InputError):
        PlatformValues.load(tmp_path / "values.json")
    with pytest.raises(InputError):
        PlatformValues.load(tmp_path / "absent.json")


def test_files_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    rendered = render("phala", request())
    first = write(rendered, tmp_path)
    assert write(rendered, tmp_path) == first, "the same once more is no harm"
    (tmp_path / "docker-compose.yml").write_text("mine")
    with pytest.raises(InputError):
        write(rendered, tmp_path)
    assert (tmp_path / "docker-compose.yml").read_text() == "mine"


@pytest.mark.parametrize("target", ["rofl", "host"])
def test_gpu_where_no_manifest_can_ask_for_one_is_refused(target: str) -> None:
    with pytest.raises(InputError):
        render(target, request(gpu=True))


def test_unknown_target_is_refused() -> None:
    with pytest.raises(InputError):
        render("elsewhere", request())


def test_missing_tool_leaves_the_digest_open_and_says_so(tmp_path: Path) -> None:
    def absent(_: Boot, __: int) -> str:
        raise MissingDependency("not installed", hint="install it")

    boot = Boot(firmware=tmp_path, kernel=tmp_path, initrd=tmp_path)
    expect = host_module.expect(request(boot=boot), {}, measure=absent)
    assert expect.known == {}
    assert "install it" in expect.elsewhere["measurement"]


def test_firmware_that_is_none_gives_no_digest(tmp_path: Path) -> None:
    pytest.importorskip("sevsnpmeasure", reason="sev-snp-measure is not installed")
    junk = tmp_path / "junk"
    junk.write_bytes(b"not firmware" * 1000)
    with pytest.raises(InputError):
        snp_launch_digest(Boot(firmware=junk, kernel=junk, initrd=junk), 1)
    with pytest.raises(InputError):
        snp_launch_digest(Boot(firmware=tmp_path / "no", kernel=junk, initrd=junk), 1)
    with pytest.raises(InputError, match="CPU model"):
        snp_launch_digest(Boot(firmware=junk, kernel=junk, initrd=junk, cpu="Z80"), 1)

"""What `privity deploy render` writes, against each platform's schema and its own promises."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from privity.attest.manifest import Manifest
from privity.cli import serve
from privity.identity.fields import Fields
from privity.node.deploy import (
    TARGETS,
    DeployRequest,
    ImageRef,
    PlatformValues,
    Publishing,
    Rendered,
    SealedModel,
    render,
    write,
)
from privity.node.deploy import host as host_module
from privity.node.deploy.request import Boot, Provenance

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
IMAGE = ImageRef("ghcr.io/someone/privity", DIGEST)
REGISTERS = {
    name: f"{index:02x}" * 48 for index, name in enumerate(("mrtd", "rtmr0", "rtmr1", "rtmr2"), 1)
}
BUILT = Provenance("someone", "https://example.org/privity", "0" * 40)
SCHEMAS = Path(__file__).parents[1] / "schemas"
WRITTEN = {
    "phala": [
        ("compose.json", "docker-compose.yml"),
        ("dstack_app_compose.json", "app-compose.json"),
    ],
    "rofl": [("rofl_manifest.json", "rofl.yaml"), ("compose.json", "compose.yaml")],
    "secretvm": [("compose.json", "docker-compose.yaml")],
    "akash": [("akash_sdl.json", "deploy.yaml")],
}
PUBLISHED = [
    ("compose-spec.json", "phala", "docker-compose.yml"),
    ("compose-spec.json", "rofl", "compose.yaml"),
    ("compose-spec.json", "secretvm", "docker-compose.yaml"),
    ("sdl-input.schema.yaml", "akash", "deploy.yaml"),
]


def request(**changes: Any) -> DeployRequest:
    return DeployRequest(**{"image": IMAGE, "now": NOW, **changes})


def rendered(target: str, **changes: Any) -> Rendered:
    changes["gpu"] = changes.get("gpu", False) and target not in ("rofl", "host")
    return render(target, request(**changes))


CHOICES: list[dict[str, Any]] = [
    {},
    {"gpu": True, "cpus": 16, "memory_mb": 65_536},
    {"model": SealedModel("https://store.example/m", "https://broker.example", "m", DIGEST)},
    {
        "publishing": Publishing(log="https://log.example", log_name="enclave.example:8443"),
        "boot": Boot(tee="tdx"),
    },
]
NAMES = ["plain", "gpu", "model", "log"]
PUBLISHED_BESIDE = Publishing("https://pccs.example", "https://log.example", "enclave.example")


@pytest.mark.parametrize("changes", CHOICES, ids=NAMES)
@pytest.mark.parametrize(
    ("target", "schema", "name"),
    [(target, schema, name) for target, pairs in WRITTEN.items() for schema, name in pairs],
)
def test_each_file_holds_to_the_schema_written_from_its_platform(
    target: str, schema: str, name: str, changes: dict[str, Any]
) -> None:
    document = yaml.safe_load(rendered(target, **changes).files[name])
    form = json.loads((SCHEMAS / schema).read_text())
    jsonschema.Draft202012Validator.check_schema(form)
    jsonschema.Draft202012Validator(form).validate(document)


@pytest.mark.parametrize("changes", CHOICES, ids=NAMES)
@pytest.mark.parametrize(("schema", "target", "name"), PUBLISHED)
def test_each_file_holds_to_the_schema_its_platform_publishes(
    schema: str, target: str, name: str, changes: dict[str, Any]
) -> None:
    folder = os.environ.get("PRIVITY_SCHEMAS")
    if folder is None:
        pytest.skip("set PRIVITY_SCHEMAS to the platforms' published schemas to run this")
    form = yaml.safe_load((Path(folder) / schema).read_text())
    document = yaml.safe_load(rendered(target, **changes).files[name])
    jsonschema.Draft7Validator(form).validate(document)


@pytest.mark.parametrize("target", TARGETS)
def test_same_request_gives_the_same_bytes(target: str) -> None:
    assert rendered(target) == rendered(target)


def test_rofl_compose_holds_to_what_rofls_builder_checks() -> None:
    # From validateComposeFile in oasisprotocol/cli, cmd/rofl/build/validate.go.
    service = yaml.safe_load(rendered("rofl").files["compose.yaml"])["services"]["privity-enclave"]
    assert "." in service["image"].split("/")[0]
    for volume in service.get("volumes", []):
        assert volume.startswith(("/run/rofl-appd.sock:", "/storage/"))
    assert all(port.split(":")[0] != "0" for port in service["ports"])


def test_compose_hash_is_of_the_bytes_that_are_written(tmp_path: Path) -> None:
    result = rendered("phala")
    write(result, tmp_path)
    data = (tmp_path / "app-compose.json").read_bytes()
    assert result.expect.known["compose_hash"] == hashlib.sha256(data).hexdigest()
    # The form dstack's own SDKs write: sorted keys, compact, UTF-8.
    document = json.loads(data)
    form = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == form.encode()
    assert document["docker_compose_file"] == (tmp_path / "docker-compose.yml").read_text()


def test_secret_vm_register_follows_from_file_and_root() -> None:
    root = "cd" * 32
    result = rendered("secretvm", platform=PlatformValues(REGISTERS, root))
    compose = hashlib.sha256(result.files["docker-compose.yaml"].encode()).digest()
    register = hashlib.sha384(bytes(48) + compose + bytes(16)).digest()
    register = hashlib.sha384(register + bytes.fromhex(root) + bytes(16)).digest()
    assert result.expect.known["rtmr3"] == register.hex()
    assert result.missing == ("builder", "repository", "commit")


@pytest.mark.parametrize("target", ["phala", "secretvm"])
def test_reference_is_ready_to_sign_once_everything_is_given(target: str) -> None:
    platform = PlatformValues(REGISTERS, "cd" * 32)
    result = rendered(target, platform=platform, provenance=BUILT)
    assert result.missing == ()
    manifest = Manifest.from_fields(Fields(dict(result.reference), "manifest"))
    assert manifest.measurements[0].registers == result.expect.known
    assert DIGEST in manifest.name
    assert manifest.models is None


@pytest.mark.parametrize(
    ("target", "name"), [("phala", "docker-compose.yml"), ("akash", "deploy.yaml")]
)
def test_gpu_that_is_asked_for_is_given_to_the_container_and_attested(
    target: str, name: str
) -> None:
    text = rendered(target, gpu=True).files[name]
    assert '"nvidia"' in text.partition("--attester")[2]
    assert "nvidia:" in text or '"capabilities"' in text or "capabilities:" in text
    assert "nvidia" not in rendered(target).files[name]


def test_reference_for_a_gpu_is_not_ready_without_an_entry_for_it() -> None:
    platform = PlatformValues(REGISTERS, "cd" * 32)
    result = rendered("phala", platform=platform, provenance=BUILT, gpu=True)
    assert [text for text in result.missing if "nvidia" in text]


def test_reference_names_the_model_where_it_is_given() -> None:
    result = rendered("phala", **CHOICES[2])
    assert result.reference["models"] == [{"id": "m", "weights": DIGEST}]


def test_plain_host_takes_the_launch_digest_of_what_it_boots(tmp_path: Path) -> None:
    boot = Boot(firmware=tmp_path / "f", kernel=tmp_path / "k", initrd=tmp_path / "i")
    asked: list[tuple[Boot, int]] = []

    def scripted(boot: Boot, cpus: int) -> str:
        asked.append((boot, cpus))
        return "ef" * 48

    wanted = request(boot=boot, cpus=4)
    expect = host_module.expect(wanted, {}, measure=scripted)
    assert expect.known == {"measurement": "ef" * 48}
    assert asked == [(boot, 4)]


def test_plain_host_without_its_files_says_what_is_needed() -> None:
    result = rendered("host")
    assert result.expect.known == {}
    assert "sev-snp-measure" in result.expect.elsewhere["measurement"]
    assert "measurement" in result.missing


@pytest.mark.parametrize("tee", ["snp", "tdx"])
def test_launch_script_is_one_shell_command(tee: str) -> None:
    boot = Boot(tee=tee, append="root=/dev/dm-0 roothash=ab console=ttyS0")
    text = rendered("host", boot=boot).files["launch-guest.sh"]
    words = shlex.split(text.partition("exec ")[2].replace("\\\n", " "))
    assert words[0] == "qemu-system-x86_64"
    assert words[words.index("-append") + 1] == boot.append
    guard = next(word for word in words if f"{tee}-guest" in word)
    assert tee == "snp" or json.loads(guard)["qom-type"] == "tdx-guest"
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_quadlet_is_a_unit_systemd_can_read(tmp_path: Path) -> None:
    text = rendered("host").files["privity-enclave.container"]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    # Podman turns [Container] into [Service]; what remains is an ordinary unit.
    head, _, rest = text.partition("[Container]")
    service = rest[rest.index("[Service]") :].replace("[Service]", "[Service]\nExecStart=/bin/true")
    unit = tmp_path / "privity-enclave.service"
    unit.write_text(head + service)
    command = [analyze, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "Failed to" in done.stderr and "manager" in done.stderr:
        pytest.skip("systemd-analyze cannot work in this container")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("changes", CHOICES, ids=NAMES)
def test_every_rendered_option_is_one_the_enclave_takes(
    target: str, changes: dict[str, Any]
) -> None:
    import typer

    group: Any = typer.main.get_command(serve.app)
    known = {name for option in group.commands["enclave"].params for name in option.opts}
    text = "".join(rendered(target, **changes).files.values())
    asked = set(re.findall(r"(?<=[\s\"'])--[a-z-]+", text))
    assert asked
    assert asked <= known


def enclave_words(target: str, **changes: Any) -> list[str]:
    """Return the arguments that the enclave starts with, out of the file that says so."""
    files = rendered(target, **changes).files
    if target == "host":
        (line,) = re.findall("^Exec=(.*)$", files["privity-enclave.container"], re.MULTILINE)
        return shlex.split(line)
    name = {"phala": "docker-compose.yml", "akash": "deploy.yaml", "rofl": "compose.yaml"}
    document = yaml.safe_load(files[name.get(target, "docker-compose.yaml")])
    (service,) = document["services"].values()
    return list(service["args"] if target == "akash" else service["command"])


@pytest.mark.parametrize("target", TARGETS)
def test_collateral_and_log_of_the_enclave_are_on_its_command_line(target: str) -> None:
    changes = {"publishing": PUBLISHED_BESIDE, "boot": Boot(tee="tdx")}
    words = enclave_words(target, **changes)
    for option, value in (
        ("--pccs", "https://pccs.example"),
        ("--log", "https://log.example"),
        ("--name", "enclave.example"),
    ):
        assert words[words.index(option) + 1] == value
    assert rendered(target, **changes).lacks == ()
    assert not {"--pccs", "--log", "--name", "--manifest"} & set(enclave_words(target))


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_strict_device_will_miss_is_said(target: str) -> None:
    result = rendered(target, boot=Boot(tee="tdx"))
    assert any("--log" in line for line in result.lacks)
    assert any("--pccs" in line for line in result.lacks) == (result.expect.kind == "tdx")
    assert result.to_json()["lacks"] == list(result.lacks)


def test_manifest_reaches_the_enclave_on_a_host_of_ones_own() -> None:
    changes = {"publishing": Publishing(manifest=Path("approved.json"))}
    words = enclave_words("host", **changes)
    files = rendered("host", **changes).files
    inside = words[words.index("--manifest") + 1]
    name = "opt/privity/manifest"
    assert (
        f"Volume=/sys/firmware/qemu_fw_cfg/by_name/{name}/raw:{inside}:ro\n"
        in (files["privity-enclave.container"])
    )
    launch = shlex.split(files["launch-guest.sh"].partition("exec ")[2].replace("\\\n", " "))
    assert launch[launch.index("-fw_cfg") + 1] == f"name={name},file=approved.json"
    assert "fw_cfg" not in "".join(rendered("host").files.values())

"""A machine of one's own: a QEMU guest under SEV-SNP or TDX, with the enclave as a quadlet in it.

The guest is booted directly: firmware, kernel, initrd and command line are measured, and a root
file system through the verity hash on the command line. Source: QEMU, docs/system/i386 (amd-memory-
encryption, tdx); podman-systemd.unit(5).
"""

from __future__ import annotations

import shlex

from privity.errors import MissingDependency
from privity.node.deploy.launch_digest import Measure, snp_launch_digest
from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation
from privity.node.deploy.service import MANIFEST, PORT, enclave_command

__all__ = ["expect", "files"]

_TDX = (
    "of firmware, machine, kernel, initrd and command line: no tool in privity computes it; "
    "virtee/tdx-measure does (Apache-2.0), or read it in a quote of a guest you booted yourself"
)
_SNP = "sev-snp-measure, from the firmware, kernel and initrd: give all three"
# Handed to the guest by its firmware's configuration, which is not measured: a manifest that said
# otherwise than its signatures would be refused by devices. Linux, Documentation/ABI/testing/
# sysfs-firmware-qemu_fw_cfg.
_ITEM = "opt/privity/manifest"
_ITEM_FILE = f"/sys/firmware/qemu_fw_cfg/by_name/{_ITEM}/raw"
_QUOTE_SERVICE = '{"type":"vsock","cid":"2","port":"4050"}'


def files(request: DeployRequest) -> dict[str, str]:
    """Return the launch script for the host, and the unit that the guest's image holds."""
    return {
        "launch-guest.sh": _launch(request),
        f"{request.name}.container": _quadlet(request),
    }


def expect(
    request: DeployRequest, rendered: dict[str, str], measure: Measure = snp_launch_digest
) -> Expectation:
    """Return SNP's launch digest where its inputs are given and the tool is installed."""
    boot = request.boot
    unmeasured = (
        "the image runs because the guest's initrd or verity root says so: build it to hold "
        "this unit and nothing that can replace it",
    )
    if boot.tee == "tdx":
        known = dict(request.platform.registers)
        names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
        elsewhere = {name: _TDX for name in names if name not in known}
        return Expectation("tdx", known, elsewhere, unmeasured)
    if boot.firmware is None or boot.kernel is None or boot.initrd is None:
        return Expectation("snp", {}, {"measurement": _SNP}, unmeasured)
    try:
        digest = measure(boot, request.cpus)
    except MissingDependency as error:
        where = f"{error.message}; {error.hint}"
        return Expectation("snp", {}, {"measurement": where}, unmeasured)
    return Expectation("snp", {"measurement": digest}, {}, unmeasured)


def _launch(request: DeployRequest) -> str:
    boot, memory = request.boot, f"{request.memory_mb}M"
    firmware, kernel, initrd = (
        str(path or name)
        for path, name in (
            (boot.firmware, "OVMF.fd"),
            (boot.kernel, "vmlinuz"),
            (boot.initrd, "initrd.img"),
        )
    )
    if boot.tee == "snp":
        cpu = boot.cpu
        guard = "sev-snp-guest,id=tee,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on"
        machine = "q35,confidential-guest-support=tee,memory-backend=ram"
    else:
        cpu = "host"
        guard = f'{{"qom-type":"tdx-guest","id":"tee","quote-generation-socket":{_QUOTE_SERVICE}}}'
        machine = "q35,kernel_irqchip=split,confidential-guest-support=tee,memory-backend=ram"
    words = [
        ["qemu-system-x86_64", "-accel", "kvm", "-nodefaults", "-no-user-config"],
        ["-cpu", cpu, "-smp", str(request.cpus), "-m", memory],
        ["-object", f"memory-backend-memfd,id=ram,size={memory},share=true"],
        ["-object", guard],
        ["-machine", machine],
        ["-bios", firmware],
        ["-kernel", kernel],
        ["-initrd", initrd],
        ["-append", boot.append],
        ["-netdev", f"user,id=net,hostfwd=tcp::{PORT}-:{PORT}"],
        ["-device", "virtio-net-pci,netdev=net,disable-legacy=on,iommu_platform=on,romfile="],
        ["-display", "none", "-serial", "stdio"],
    ]
    if request.publishing.manifest is not None:
        words.append(["-fw_cfg", f"name={_ITEM},file={request.publishing.manifest}"])
    lines = " \\\n  ".join(shlex.join(group) for group in words)
    return (
        "#!/bin/sh\n# Boots the guest that runs the enclave. Everything it boots is measured.\n"
        f"set -eu\nexec {lines}\n"
    )


def _quadlet(request: DeployRequest) -> str:
    command = shlex.join(enclave_command(request, "tsm"))
    manifest = ""
    if request.publishing.manifest is not None:
        manifest = f"Volume={_ITEM_FILE}:{MANIFEST}:ro\n"
    return f"""# The enclave as a unit of podman: in the guest, below /etc/containers/systemd.
[Unit]
Description=privity enclave

[Container]
Image={request.image}
Exec={command}
# configfs belongs to root, so this container runs as root, without any capability.
User=0
ReadOnly=true
DropCapability=all
NoNewPrivileges=true
Tmpfs=/run/privity:mode=0700
Tmpfs=/tmp
Environment=PRIVITY_HOME=/run/privity
Volume=/sys/kernel/config:/sys/kernel/config
{manifest}PublishPort={PORT}:{PORT}
Ulimit=core=0
Ulimit=memlock=-1

[Service]
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

"""What an operator asks to be rendered. Every text is checked: it ends up in somebody's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from privity.errors import InputError, MalformedError, OversizeError
from privity.identity.digests import check_content
from privity.identity.jcs import loads_strict

__all__ = [
    "Boot",
    "DeployRequest",
    "ImageRef",
    "PlatformValues",
    "Provenance",
    "Publishing",
    "SealedModel",
]

_HOST = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?"
_PATH = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_IMAGE = re.compile(rf"({_HOST}(?:/{_PATH})+)(?::[\w][\w.-]{{0,127}})?@(sha256:[0-9a-f]{{64}})")
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
# No white space, quotes, or $, which compose files would replace.
_URL = re.compile(r"(?:https|s3|gs|az)://[A-Za-z0-9._~:/?#@!&()*+,;=%-]{1,400}")
_REACHED = re.compile(_HOST)
_PLAIN = re.compile(r"[A-Za-z0-9._/:@+-]{1,200}")
_HEX48 = re.compile(r"[0-9a-f]{96}")
_HEX32 = re.compile(r"[0-9a-f]{64}")
_MAX_VALUES = 65_536


@dataclass(frozen=True)
class ImageRef:
    """A container image by registry, name and digest.

    Attributes:
        name: registry and path, such as ``ghcr.io/someone/privity``.
        digest: ``sha256:`` of the image's manifest.
    """

    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read ``registry/path@sha256:…``; a tag before the digest is dropped, it binds nothing.

        Raises:
            InputError: there is no digest, or no registry with a dot in its name.
        """
        match = _IMAGE.fullmatch(text)
        if match is None and "@sha256:" not in text:
            raise InputError(
                f"{text!r} names no digest: whoever holds the registry could change what runs",
                hint="give REGISTRY/PATH@sha256:…, as `docker buildx imagetools inspect` prints it",
            )
        if match is None or "." not in match[1].split("/")[0]:
            raise InputError(
                f"{text!r} is not an image with its registry and digest",
                hint="such as ghcr.io/someone/privity@sha256:…",
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class SealedModel:
    """A sealed model that the enclave fetches, and whose key a broker releases to it.

    Attributes:
        url: where the artefact is.
        broker: who holds its key.
        id: the name it is served by; for the reference manifest.
        root: what names its weights, ``tree-sha256:…``; for the reference manifest.
    """

    url: str
    broker: str
    id: str | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        for url in (self.url, self.broker):
            if not _URL.fullmatch(url):
                raise InputError(f"{url!r} is not a URL that can stand in a manifest")
        if (self.id is None) != (self.root is None):
            raise InputError("a model is approved by name and root: give both, or neither")
        if self.id is not None and not _PLAIN.fullmatch(self.id):
            raise InputError("a model's name has letters, digits and ._/:@+-")
        if self.root is not None:
            try:
                check_content(self.root)
            except MalformedError as error:
                raise InputError(f"the model's root is {error.message}") from None


@dataclass(frozen=True)
class PlatformValues:
    """What the platform publishes about its own machine image, in lower-case hex.

    Attributes:
        registers: ``mrtd``, ``rtmr0``, ``rtmr1``, ``rtmr2``, as far as they were given.
        rootfs: Secret VM's ``rootfs_data``.
    """

    registers: Mapping[str, str] = field(default_factory=dict)
    rootfs: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "registers", MappingProxyType(dict(self.registers)))

    @classmethod
    def load(cls, path: Path) -> PlatformValues:
        """Read a JSON object of them, such as ``dstack-mr measure --json`` prints.

        Members other than the ones used are passed over: these tools print more.

        Raises:
            InputError: it cannot be read, or a value is not of its form.
        """
        try:
            raw = loads_strict(path.read_bytes(), max_bytes=_MAX_VALUES)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        except (MalformedError, OversizeError) as error:
            raise InputError(f"{path} is {error.message}") from None
        if not isinstance(raw, dict):
            raise InputError(f"{path} is not a JSON object")
        names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
        registers = {name: _hex(raw[name], name, _HEX48) for name in names if name in raw}
        rootfs = _hex(raw["rootfs_data"], "rootfs_data", _HEX32) if "rootfs_data" in raw else None
        return cls(registers, rootfs)


def _hex(value: object, name: str, form: re.Pattern[str]) -> str:
    text = value.lower().removeprefix("0x") if isinstance(value, str) else ""
    if not form.fullmatch(text):
        raise InputError(f"the platform's {name} is not hex of its length")
    return text


@dataclass(frozen=True)
class Boot:
    """What a plain host boots directly; all files are measured.

    Attributes:
        tee: ``snp`` or ``tdx``.
        firmware: OVMF or TDVF.
        kernel: the guest's kernel.
        initrd: its initial file system.
        append: its command line; where there is a root file system, with its verity root hash.
        cpu: the CPU model of the guest, which SNP measures.
    """

    tee: str = "snp"
    firmware: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = "console=ttyS0"
    cpu: str = "EPYC-v4"

    def __post_init__(self) -> None:
        if self.tee not in ("snp", "tdx"):
            raise InputError("a plain host's guest is of snp or tdx")
        if "'" in self.append or any(ord(char) < 32 for char in self.append):
            raise InputError("the kernel's command line cannot hold quotes or line ends")


@dataclass(frozen=True)
class Provenance:
    """Who built the image and from what, for the reference manifest.

    Attributes:
        builder: who.
        repository: URL of the source.
        commit: the version in it.
        lifetime: how long the approval is to hold.
    """

    builder: str | None = None
    repository: str | None = None
    commit: str | None = None
    lifetime: timedelta = timedelta(days=90)


@dataclass(frozen=True)
class Publishing:
    """What the enclave publishes beside its evidence, so that devices ask nobody else.

    Attributes:
        pccs: where it fetches Intel's collateral from, at each start.
        log: URL of the log that its keyset goes into.
        log_name: its name there: host and port of the URL by which devices reach it.
        manifest: the file with the signed manifest; it need not be there yet.
    """

    pccs: str | None = None
    log: str | None = None
    log_name: str | None = None
    manifest: Path | None = None

    def __post_init__(self) -> None:
        for url in (self.pccs, self.log):
            if url is not None and not (_URL.fullmatch(url) and url.startswith("https://")):
                raise InputError(f"{url!r} is not an https URL that can stand in a manifest")
        if (self.log is None) != (self.log_name is None):
            raise InputError(
                "a log needs the name that devices look for in it, and the name a log",
                hint="--log URL --log-name HOST[:PORT], as in the URL by which devices reach it",
            )
        if self.log_name is not None and not _REACHED.fullmatch(self.log_name):
            raise InputError(f"{self.log_name!r} is not a host, or host and port, in lower case")
        if self.manifest is not None and not _PLAIN.fullmatch(str(self.manifest)):
            raise InputError("the path of the manifest has letters, digits and ._/:@+-")


@dataclass(frozen=True)
class DeployRequest:
    """One enclave to deploy.

    Attributes:
        image: what runs.
        now: the reference manifest is issued at this time.
        name: of the deployment.
        model: a sealed model; None serves the one in the image.
        gpu: ask for a confidential GPU too, where the platform's manifest can say so.
        cpus: how many.
        memory_mb: how much, in MiB.
        platform: what the platform publishes.
        boot: what a plain host boots.
        provenance: who built it.
        publishing: what it publishes beside its evidence.
    """

    image: ImageRef
    now: datetime
    name: str = "privity-enclave"
    model: SealedModel | None = None
    gpu: bool = False
    cpus: int = 2
    memory_mb: int = 4096
    platform: PlatformValues = field(default_factory=PlatformValues)
    boot: Boot = field(default_factory=Boot)
    provenance: Provenance = field(default_factory=Provenance)
    publishing: Publishing = field(default_factory=Publishing)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError("a deployment's name has 1 to 32 of a-z, 0-9 and -")
        if not 1 <= self.cpus <= 256 or not 1024 <= self.memory_mb <= 4_194_304:
            raise InputError("1 to 256 processors and 1024 to 4194304 MiB of memory")

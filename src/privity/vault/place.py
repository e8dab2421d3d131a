"""Places for sealed artefacts: a folder, S3 and what speaks like it, GCS, Azure, a web server.

`obstore` (the Rust ``object_store``) speaks to all of them, retries included. Credentials come
from the provider's usual environment variables. Where there are none, requests go unsigned: the
libraries' habit of asking the metadata address of a cloud machine for some is switched off. Plain
HTTP is spoken to loopback alone. What a store answers is never believed: the artefact authenticates
its own bytes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from privity.errors import InputError, MissingDependency, PeerError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Place", "open_place", "translated"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLIENT = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "3600s"}
_RETRY: dict[str, Any] = {
    "max_retries": 4,
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
    "retry_timeout": timedelta(minutes=3),
}
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_BEARER_TOKEN"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}


@dataclass(frozen=True)
class Place:
    """Where an artefact lies, or shall lie, in a store.

    Attributes:
        store: what speaks to it.
        prefix: the place in it; empty, or without a slash at either end.
        name: as people write it; without user, password and query.
    """

    store: ObjectStore
    prefix: str
    name: str

    def path(self, name: str = "") -> str:
        """Return the path of an object of this place in the store."""
        return "/".join(part for part in (self.prefix, name) if part)


def open_place(
    url: str, *, create: bool = False, environ: Mapping[str, str] | None = None
) -> Place:
    """Return the place that a URL or a path of a folder names; nothing is sent yet.

    Args:
        url: ``file:///…`` or a path, ``s3://bucket/…``, ``gs://bucket/…``, ``az://container/…``,
            ``https://…``, or ``http://`` on loopback.
        create: make the folder, where it is one.
        environ: where credentials and endpoints come from; by default the process's.

    Raises:
        InputError: no such scheme, a folder that is not there, or plain HTTP to another machine.
        MissingDependency: `obstore` is not installed.
    """
    if importlib.util.find_spec("obstore") is None:
        raise MissingDependency(
            "obstore is not installed; stores need it", hint="pip install obstore"
        )
    environ = os.environ if environ is None else environ
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme == "file":
        return _folder(Path(url) if parts is None else Path(unquote(parts.path)), create=create)
    if parts.query or parts.fragment or parts.username or parts.password or not parts.hostname:
        raise InputError(
            "the URL of a store has a host and a path only",
            hint="credentials come from the environment, such as AWS_ACCESS_KEY_ID",
        )
    prefix = unquote(parts.path).strip("/")
    name = f"{parts.scheme}://{parts.netloc}/{prefix}".rstrip("/")
    with translated(name):
        return Place(_remote(parts.scheme, parts.netloc, parts.hostname, environ), prefix, name)


@contextlib.contextmanager
def translated(name: str, *, writing: bool = False) -> Iterator[None]:
    """Turn what `obstore` raises in the block into a `PeerError` about the place ``name``.

    Its messages are left out: they can quote a signed URL.

    Args:
        name: the place, as people write it.
        writing: whether the block writes there: what is not there then is the place itself.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        message, hint = _reason(error, writing=writing)
        raise PeerError(f"{name}: {message}", hint=hint) from None


def _folder(path: Path, *, create: bool) -> Place:
    from obstore.store import LocalStore

    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            raise InputError(f"there is no file or folder {path}")
        return Place(LocalStore(path.resolve()), "", str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be a store: {error.strerror}") from error


def _remote(scheme: str, netloc: str, host: str, environ: Mapping[str, str]) -> ObjectStore:
    from obstore.store import HTTPStore, S3Store, from_url

    client: Any = dict(_CLIENT)
    retry: Any = _RETRY
    unsigned: Any = {} if _has_credentials(scheme, environ) else {"skip_signature": True}
    if scheme in ("http", "https"):
        client["allow_http"] = _allows_http(f"{scheme}://{netloc}")
        return HTTPStore(f"{scheme}://{netloc}", client_options=client, retry_config=retry)
    if scheme == "s3":
        endpoint = next((environ[one] for one in _S3_ENDPOINTS if environ.get(one)), None)
        client["allow_http"] = endpoint is not None and _allows_http(endpoint)
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        config: Any = {"region": region, **unsigned}
        if endpoint is not None:
            config["endpoint"] = endpoint
        return S3Store(host, config=config, client_options=client, retry_config=retry)
    if scheme in ("gs", "az"):
        return from_url(
            f"{scheme}://{netloc}", config=unsigned, client_options=client, retry_config=retry
        )
    raise InputError(
        f"{scheme}:// is no store that privity knows",
        hint="a path, file:///, s3://, gs://, az:// or https://",
    )


def _allows_http(url: str) -> bool:
    """Tell whether a URL is plain HTTP, and refuse that to any machine but this one."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    if parts.hostname not in _LOOPBACK:
        raise InputError(
            f"{parts.hostname} would be spoken to without encryption",
            hint="use https://; plain http:// is for loopback",
        )
    return True


def _has_credentials(scheme: str, environ: Mapping[str, str]) -> bool:
    wanted = _CREDENTIALS.get(scheme, ())
    return any(value and name.startswith(wanted) for name, value in environ.items() if wanted)


def _reason(error: Exception, *, writing: bool) -> tuple[str, str]:
    """Return what a store's error means and what helps."""
    from obstore import exceptions

    if isinstance(error, exceptions.NotFoundError | FileNotFoundError):
        if writing:
            return "there is no such bucket or place", "make it first, or correct its name"
        return "it is not there any more", "it may have been replaced; try again"
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return "the store refused", "check the credentials in the environment"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, ""
    text = str(error).lower()
    for sign, meaning in (
        ("connection refused", "nobody listens there"),
        ("dns error", "its name cannot be resolved"),
        ("certificate", "its certificate is not trusted"),
        ("timed out", "it did not answer in time"),
        ("403", "the store refused"),
        ("404", "the bucket or the path is not there"),
        ("connect", "it cannot be reached"),
    ):
        if sign in text:
            return meaning, ""
    return f"the store failed ({type(error).__name__})", ""

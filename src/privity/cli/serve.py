"""`privity serve`: run one role in the foreground, for operators and for a devnet.

A role prints one JSON line on stdout when it is ready, then nothing; its messages go to stderr.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from privity.cli import output

__all__ = ["app"]

app = typer.Typer(
    help="Run an enclave or a relay, in the foreground.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Host = Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")]
Port = Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65535)]
Lifeline = Annotated[
    bool, typer.Option("--lifeline", help="End when standard input ends.", hidden=True)
]


@app.command("enclave")
def enclave(
    dev_root: Annotated[
        Path | None,
        typer.Option(
            help="Key file of the development root that vouches for it, made if there is none; "
            "by default that of your devnet.",
            metavar="FILE",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Base URL of a running engine; by default the embedded one.", metavar="URL"
        ),
    ] = None,
    engine_key: Annotated[
        str | None,
        typer.Option(help="The engine's API key.", envvar="PRIVITY_ENGINE_KEY", metavar="KEY"),
    ] = None,
    unsafe_shared_cache: Annotated[
        bool,
        typer.Option(
            "--unsafe-shared-cache",
            help="Serve an engine that shares prefix caches between callers: a timing leak.",
        ),
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Serve a model to sealed requests only, with keys that live in memory only.

    The evidence is of type `dev`: plain software, which does not stop whoever owns this machine.
    Only the `dev` policy admits it.
    """
    from privity.errors import InputError
    from privity.home import home
    from privity.infer.engines.hardening import harden
    from privity.node.enclave import dev_enclave
    from privity.node.listen import bind, end_with_stdin, serve_app

    for gap in harden().gaps():
        output.note(gap)
    application, root = dev_enclave(
        dev_root.expanduser() if dev_root else home() / "devnet" / "root.key",
        engine_url=engine,
        engine_key=engine_key,
        unsafe_shared_cache=unsafe_shared_cache,
    )
    sock = bind(host, port)
    if lifeline:
        end_with_stdin()

    def ready(url: str) -> None:
        models = [model.id for model in application.keyset.models]
        _ready(url, kind="dev", root=root, models=models)

    serve_app(application, sock, on_ready=ready)


@app.command("relay")
def relay(
    target: Annotated[
        list[str],
        typer.Option(help="NAME=URL of an enclave; may be given again.", metavar="NAME=URL"),
    ],
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Carry sealed messages, and nothing of who sent them.

    The relay reads no prompt, keeps nothing and logs nothing. It goes only to its targets.
    """
    from privity.node.listen import bind, end_with_stdin, serve_app
    from privity.node.relay import relay_app

    application = relay_app(dict(_target(text) for text in target))
    sock = bind(host, port)
    if lifeline:
        end_with_stdin()
    serve_app(application, sock, on_ready=lambda url: _ready(url))


def _target(text: str) -> tuple[str, str]:
    from privity.errors import InputError

    name, equals, url = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is not NAME=URL", hint="such as home=https://enclave.example")
    return name, url


def _ready(url: str, **more: Any) -> None:
    output.out(json.dumps({"ready": True, "url": url, "pid": os.getpid(), **more}))

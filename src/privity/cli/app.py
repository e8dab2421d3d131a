"""The command tree and the one place that turns errors into exit codes.

Exit codes: 0 done; 1 it failed; 2 an argument, file or setting is wrong; 3 refused by the policy;
130 interrupted; 143 ended by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from privity.cli import (
    ask,
    chat,
    decisions,
    deploy,
    devnet,
    doctor,
    grants,
    inbox,
    ledger,
    log,
    model,
    models,
    operator,
    output,
    policy,
    pseudonyms,
    query_terms,
    receipts,
    reference,
    registry,
    serve,
    serve_bus,
    serve_gateway,
    serve_log,
    serve_prover,
    train,
    up,
    verify,
    wallet,
)
from privity.cli.hints import with_policy
from privity.errors import PrivityError

__all__ = ["build_app", "main"]

_PROMISE = "Ask a model privately, and hold a receipt of who was privy to what."
_EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong argument, file or setting, "
    "3 refused by the policy, 130 interrupted, 143 ended by SIGTERM."
)

# What a disk or a folder refuses is for the person to mend, wherever privity met it.
_UNWRITABLE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES))
_ROOM = "make room, or make it a place that you can write to"

# Groups whose commands come from several files.
_ELSEWHERE: tuple[tuple[typer.Typer, tuple[Callable[..., None], ...]], ...] = (
    (model.app, (grants.grant, grants.revoke, grants.grants, decisions.log)),
    (operator.app, (query_terms.query_terms,)),
    (
        serve.app,
        (
            *(serve_bus.bus, serve_gateway.gateway, serve_log.log, serve_log.witness),
            *(serve_prover.prover, train.trainer),
        ),
    ),
)
for _group, _commands in _ELSEWHERE:
    for _command in _commands:
        _group.command()(_command)


def _show_version(asked: bool) -> None:
    if asked:
        output.out(f"privity {version('privity')}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the command tree. Importing it imports no cryptography, engine or network code."""
    app = typer.Typer(
        name="privity",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help reads the same in every terminal, pipe and document
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    )
    app.callback(help=_PROMISE, epilog=_EPILOG)(_root)
    for command in (ask.ask, chat.chat, up.up):
        app.command()(command)
    app.add_typer(models.app, name="models")
    app.add_typer(wallet.app, name="wallet")
    app.add_typer(inbox.app, name="inbox")
    app.add_typer(pseudonyms.app, name="pseudonyms")
    app.command()(verify.verify)
    app.add_typer(receipts.app, name="receipts")
    app.add_typer(policy.app, name="policy")
    app.add_typer(reference.app, name="reference")
    app.add_typer(log.app, name="log")
    app.add_typer(model.app, name="model")
    app.add_typer(train.app, name="train")
    app.command()(doctor.doctor)
    app.command()(devnet.devnet)
    app.add_typer(serve.app, name="serve")
    app.add_typer(registry.app, name="registry")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(operator.app, name="operator")
    app.add_typer(deploy.app, name="deploy")
    return app


def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Nothing of its own to do: the commands do it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def _terminate(number: int, _frame: object) -> NoReturn:
    """End on SIGTERM as on Ctrl-C: by unwinding, so that a devnet stops its roles."""
    sys.exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name.
    """
    as_json = "--json" in _options(arguments)
    app = build_app()
    try:
        result = app(arguments, prog_name="privity", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.TyperException as error:
        return _report_usage(error, as_json)
    except PrivityError as error:
        error.hint = with_policy(error.hint, arguments, get_command(app))
        if as_json:
            output.json_line(output.error_json(error))
        else:
            output.print_error(str(error), error.hint)
        return output.exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return output.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left, as `| head` does. Nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.FAILURE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            return _report_unwritable(error, as_json)
        output.tell_bug(error)
        return output.FAILURE


def _report_unwritable(error: OSError, as_json: bool) -> int:
    where = f"{error.filename}: " if error.filename else ""
    told = PrivityError(f"{where}{error.strerror}", hint=_ROOM)
    if as_json:
        output.json_line(output.error_json(told))
    else:
        output.print_error(told.message, told.hint)
    return output.FAILURE


def _report_usage(error: typer.TyperException, as_json: bool) -> int:
    message = error.format_message().replace(": Value error, ", ": ")  # a library's words
    if not message.startswith("Usage:"):
        ctx = getattr(error, "ctx", None)
        command = getattr(ctx, "command_path", "privity")
        if as_json:
            output.json_line({"error": {"type": "UsageError", "message": message}})
        else:
            output.print_error(message, f"{command} --help")
    else:  # a command group without its command: its help is the answer
        output.note(message)
    return error.exit_code


def _options(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments

"""`privity models`: every model you can reach, on which route, and who would read what you ask."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from privity.cli import output
from privity.cli.choice import JsonOption, PolicyOption
from privity.cli.hints import hinting
from privity.cli.meter import bytes_text, meter

if TYPE_CHECKING:
    from privity.infer.catalogue import Offer, Price, Shelf
    from privity.infer.config import Config
    from privity.infer.engines.ollama import Progress
    from privity.infer.engines.openai_server import OpenAIServer
    from privity.infer.opening import RouteName

__all__ = ["app"]

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)

_OLLAMA = "http://127.0.0.1:11434"
_TIMEOUT_S = 10.0


@app.callback()
def list_models(
    ctx: typer.Context,
    route: Annotated[
        str | None,
        typer.Option(
            help="One route alone: local, anonymous, confidential or zdr.", metavar="ROUTE"
        ),
    ] = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the models you can reach, and who would read.

    By route; engines and enclaves you configured are asked, and nothing of a job is sent. What
    cannot be reached is listed with the reason; a route with nothing configured is left out.
    """
    if ctx.invoked_subcommand is not None:
        return
    from privity.errors import InputError
    from privity.policy.sensitive import ROUTES

    if route is not None and route not in ROUTES:
        raise InputError(f"{route!r} is not a route", hint=f"one of {', '.join(ROUTES)}")
    found = _shelves(route, policy, quiet=as_json)
    hinted = hinting(policy, ctx.find_root().command)
    for shelf in found:
        if shelf.problem is not None:
            shelf.problem.hint = hinted(shelf.problem.hint)
    if as_json:
        output.emit_json([one.to_json() for one in found])
    else:
        _write(found)
        _write_aliases()
    if all(one.problem for one in found):
        refused = bool(found) and all(_is_refused(one) for one in found)
        raise typer.Exit(output.REFUSED if refused else output.FAILURE)


def _write(found: Sequence[Shelf]) -> None:
    if not found:
        output.note("no model is reachable; `privity doctor` says what is there")
        return
    for number, shelf in enumerate(found):
        if number:
            output.out()
        head = f"{_line(shelf.route)}/{_line(shelf.rung)}  {_line(shelf.version)}".rstrip()
        output.out(output.style(head, "bold"))
        if shelf.disclosure is not None:
            output.out(f"  {output.style(_line(_summary(shelf)), 'dim')}")
        if shelf.problem is not None:
            word = "refused:" if _is_refused(shelf) else "not reachable:"
            output.out(f"  {output.style(word, 'red')} {_line(shelf.problem.message)}")
            if shelf.problem.hint:
                _write_hint(shelf)
        elif not shelf.offers:
            output.out("  no models")
        _write_offers(shelf)


def _write_hint(shelf: Shelf) -> None:
    """Write what to do: our own lines of a policy file as lines, what a peer may have said as one.

    A line of a peer's could pass for a route.
    """
    hint = shelf.problem.hint if shelf.problem else ""
    first, *rest = hint.splitlines() if _is_refused(shelf) else [hint]
    output.out(f"  {output.style('hint:', 'cyan')} {_line(first)}")
    for line in rest:
        output.out(f"  {_line(line)}".rstrip())


def _write_aliases() -> None:
    """Name the aliases: which model answers to one depends on what is asked."""
    from privity.infer.config import load_config

    names = ", ".join(alias.name for alias in load_config().rules.aliases)
    output.note(
        f"\naliases, of which each takes the first that fits and is admitted: {_line(names)}"
    )


def _write_offers(shelf: Shelf) -> None:
    longest = max((len(_line(offer.model)) for offer in shelf.offers), default=0)
    for offer in shelf.offers:
        facts = [_context(offer).rjust(14), _line(_price(offer.price))]
        if offer.can:
            facts.append(_line(", ".join(sorted(offer.can))))
        output.out(f"  {_line(offer.model).ljust(longest)}  {'  '.join(facts)}")
        if offer.note:
            output.out(f"    {output.style('note:', 'yellow')} {_line(offer.note)}")


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(help="A model's id, or its whole name: ROUTE/RUNG/MODEL.", metavar="NAME"),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show what is known of a model, and who would be privy to a job on each route to it."""
    from privity.errors import InputError

    shelves = _shelves(quiet=as_json)
    found = [
        (shelf, offer)
        for shelf in shelves
        for offer in shelf.offers
        if name in (offer.model, offer.name)
    ]
    if not found:
        away = [f"{shelf.route}/{shelf.rung}" for shelf in shelves if shelf.problem is not None]
        rest = f"; not reachable now: {', '.join(away)}" if away else ""
        raise InputError(
            f"no model is called {output.harmless(name)!r}{output.harmless(rest)}",
            hint="`privity models` lists those there are",
        )
    if as_json:
        output.emit_json([_shown(shelf, offer) for shelf, offer in found])
        return
    for number, (shelf, offer) in enumerate(found):
        if number:
            output.out()
        _draw(shelf, offer)


def _shown(shelf: Shelf, offer: Offer) -> dict[str, Any]:
    data = shelf.to_json()
    return offer.to_json() | {"disclosure": data["disclosure"], "summary": data["summary"]}


def _draw(shelf: Shelf, offer: Offer) -> None:
    from privity.cli.table import render_disclosure

    facts = {
        "model": offer.model,
        "route": offer.route,
        "rung": f"{shelf.rung}  {shelf.version}".rstrip(),
        "context": _context(offer),
        "price": _price(offer.price),
        "can": ", ".join(sorted(offer.can)) or "not said",
    }
    if offer.note:
        facts["note"] = offer.note
    output.out(output.style(_line(offer.name), "bold"))
    output.out(output.label_rows({label: _line(fact) for label, fact in facts.items()}))
    if shelf.disclosure is None:
        return
    output.out()
    output.out(
        render_disclosure(
            shelf.disclosure,
            width=output.width(),
            color=output.uses_color(),
            ascii_only=not output.takes_unicode(),
            heading="who would be privy to what",
        )
    )


@app.command("pull")
def pull(
    name: Annotated[
        str, typer.Argument(help="A model of Ollama's, such as llama3.2:3b.", metavar="NAME")
    ],
    engine: Annotated[
        str,
        typer.Option(help="Which Ollama: its URL, or its name in config.toml.", metavar="URL"),
    ] = _OLLAMA,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have Ollama download a model.

    Ollama fetches it, not privity: whoever serves its registry learns of it. After an
    interruption, the same command goes on from what is there.
    """
    import anyio

    from privity.errors import InputError
    from privity.infer.engines.ollama import check_name

    host = check_name(name) or "its registry"
    ollama = _ollama(engine)
    if not yes:
        told = f"Ollama at {ollama.base_url} will download {name} from {host}"
        told += "; that tells it what you fetch."
        if as_json:
            raise InputError(told, hint="add --yes to have it done")
        output.note(_line(told))
        if not output.confirm("go on?"):
            raise typer.Abort
    try:
        facts = anyio.run(_pull, name, ollama, as_json)
    except KeyboardInterrupt:
        output.note("stopped; Ollama keeps what it has, and the same command goes on from there")
        raise
    if as_json:
        output.emit_json(facts)
        return
    reads = f"reads {facts['context']:,} tokens"
    output.out(_line(f"pulled {name}: {bytes_text(facts['size'])}, {reads}"))
    if facts["note"]:
        output.note(f"note: {_line(facts['note'])}")


def _ollama(engine: str) -> OpenAIServer:
    """Return the Ollama that an option means."""
    from privity.errors import InputError
    from privity.infer.config import load_config
    from privity.infer.engines.openai_server import OpenAIServer

    if "://" in engine:
        return OpenAIServer(engine, timeout_s=_TIMEOUT_S)
    peers = {peer.name: peer for peer in load_config().engines}
    if engine not in peers:
        known = ", ".join(peers) or "none"
        raise InputError(f"no engine is called {engine!r}; configured: {known}", hint="give a URL")
    key = os.environ.get(peers[engine].key_env) if peers[engine].key_env else None
    return OpenAIServer(peers[engine].url, api_key=key or None, timeout_s=_TIMEOUT_S)


async def _pull(name: str, engine: OpenAIServer, quiet: bool) -> dict[str, Any]:
    from privity.errors import EngineError
    from privity.infer.engines import ollama

    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(engine.questions())
        version = await ollama.version_of(ask)
        parts: dict[str, int] = {}
        with ExitStack() as drawn:
            steps = await stack.enter_async_context(aclosing(ollama.pull(ask, name)))
            told = _Told(name, drawn, quiet=quiet)
            async for step in steps:
                told.tell(step)
                if step.digest:
                    parts[step.digest] = step.total
        for one in await ollama.installed(ask):
            if one.elsewhere and one.id in (name, f"{name}:latest"):
                raise EngineError(
                    f"{name} does not run on this machine: Ollama forwards it to {one.elsewhere}",
                    hint="privity does not ask it; another model of the family may run here",
                )
        shown = await ollama.show(ask, name, version=version)
    return {
        "context": shown.context,
        "engine": engine.base_url,
        "model": name,
        "note": shown.note,
        "size": sum(parts.values()),
    }


class _Told:
    """Tells how far each part of a pull is, one meter after the other."""

    def __init__(self, name: str, drawn: ExitStack, *, quiet: bool) -> None:
        self._name, self._drawn, self._quiet = name, drawn, quiet
        self._digest, self._before = "", 0
        self._meter: Any = None

    def tell(self, step: Progress) -> None:
        if not step.digest or not step.total:
            return
        if step.digest != self._digest:
            self._drawn.close()
            # What was there before is not counted: the rate, and what remains, would be false.
            self._digest, self._before = step.digest, step.completed
            text = f"pulling {self._name}, {step.digest[:19]}"
            total = step.total - self._before
            self._meter = self._drawn.enter_context(meter(text, total, quiet=self._quiet))
        self._meter(max(step.completed - self._before, 0))


def _shelves(
    route: str | None = None, policy: str | None = None, *, quiet: bool
) -> tuple[Shelf, ...]:
    """Return what there is on one route, or on every one that has anything configured."""
    import anyio

    from privity.infer.config import load_config
    from privity.policy.sensitive import ROUTES

    config = load_config()
    there = {
        "local": True,
        "anonymous": config.network is not None,
        "confidential": config.peer() is not None,
        "zdr": config.providers,
    }
    # A route that is asked for by name and has nothing configured says so itself.
    wanted = [one for one in ROUTES if (there[one] if route is None else one == route)]
    with output.progress("asking what there is", quiet=quiet):
        return anyio.run(_ask, wanted, policy, config)


async def _ask(routes: Sequence[str], policy: str | None, config: Config) -> tuple[Shelf, ...]:
    """Return what routes have, each asked by itself: a session may leave some of them out."""
    import anyio

    from privity.errors import PrivityError
    from privity.infer import opening

    found: dict[str, tuple[Shelf, ...]] = {}
    errors: list[PrivityError] = []

    async def ask(route: str) -> None:
        try:
            settings = opening.SessionSettings(policy, route=cast("RouteName", route))
            found[route] = await opening.shelves(settings, config)
        except PrivityError as error:  # a setting is wrong; said as it is, not as a group
            errors.append(error)

    async with anyio.create_task_group() as group:
        for route in routes:
            group.start_soon(ask, route)
    if errors:
        raise errors[0]
    return tuple(shelf for route in routes for shelf in found[route])


def _is_refused(shelf: Shelf) -> bool:
    from privity.errors import PolicyRefusal

    return isinstance(shelf.problem, PolicyRefusal)


def _summary(shelf: Shelf) -> str:
    from privity.wording import summarise

    return summarise(shelf.disclosure) if shelf.disclosure is not None else ""


def _context(offer: Offer) -> str:
    return "context ?" if offer.context is None else f"{offer.context:,} tokens"


def _price(price: Price | None) -> str:
    if price is None:
        return "no price"
    return f"{price.currency} {price.prompt:.2f} + {price.completion:.2f} per million tokens"


def _line(text: str) -> str:
    """Return what somebody else may have written as one line that no terminal obeys."""
    from privity.wording import printable

    return printable(text) if text.strip() else text

"""`privity model grant|revoke|grants`: who may use what you sealed.

The commands are registered in `cli/app.py`, beside those of `cli/model.py`; what a broker decided
is read by `cli/decisions.py`.
"""

from __future__ import annotations

import textwrap
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import grant_options, grant_text, output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.attest.grant import Grant, SignedGrant
    from privity.node.broker import GrantState
    from privity.node.owner_client import Given

__all__ = ["grant", "grants", "revoke"]

BrokerAt = Annotated[
    str | None,
    typer.Option(
        "--broker",
        help="The broker: a URL, or its folder on this machine; by default your own folder.",
        metavar="URL|FOLDER",
    ),
]


def grant(
    artefact: Annotated[
        str,
        typer.Argument(help="A sealed artefact of yours: a file or URL.", metavar="FILE|URL"),
    ],
    purpose: Annotated[str, typer.Option(help="serve or train.")] = "serve",
    name: Annotated[
        str | None,
        typer.Option(help="What a model is served as; by default the artefact's own name."),
    ] = None,
    measurement: Annotated[
        list[str] | None,
        typer.Option(
            help="Code that may have the key, by what hardware measures: KIND:REGISTER=VALUE,… "
            "such as snp:measurement=5f…; may be given again.",
            metavar="MEASUREMENT",
        ),
    ] = None,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            help="A did:key whose reference manifests approve code; may be given again.",
            metavar="DID",
        ),
    ] = None,
    unsafe_dev: Annotated[
        bool,
        typer.Option(
            "--unsafe-dev",
            help="Give the key to dev evidence too, which keeps it from nobody. Without a "
            "measurement, to the code installed here.",
        ),
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option(help="A policy file whose [evidence] table is the floor.", metavar="FILE"),
    ] = None,
    program: Annotated[
        list[str] | None,
        typer.Option(
            help="Digest of a training program, to train; by default of the one installed here. "
            "May be given again.",
            metavar="DIGEST",
        ),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option(help="Whom a training's outputs are sealed to; by default you."),
    ] = None,
    uses: Annotated[
        int | None, typer.Option(help="How often the key is released; by default any number.")
    ] = None,
    expires: Annotated[
        str, typer.Option(help="When it ends: 30d, 12h, or 2027-01-31T00:00:00Z.")
    ] = "30d",
    lease: Annotated[
        int, typer.Option(help="Seconds after which an enclave asks again or drops it.")
    ] = 300,
    price: Annotated[
        str | None,
        typer.Option(help="What a use costs, such as '250 EUR-cent'.", metavar="AMOUNT UNIT"),
    ] = None,
    broker: BrokerAt = None,
    as_json: JsonOption = False,
) -> None:
    """Let attested code use what you sealed.

    The grant is for one purpose, until you revoke it. A broker elsewhere is verified before it
    gets the artefact's key; one in a folder of this machine is written to directly.
    """
    from privity.attest.grant import Grant, Purpose
    from privity.errors import InputError, MalformedError
    from privity.identity.keystore import device_key
    from privity.identity.timestamps import utc_now

    signer_key, now = device_key(), utc_now()
    if purpose not in list(Purpose):
        raise InputError(f"{purpose!r} is not a purpose", hint="serve or train")
    facts, key = _open(artefact)
    if purpose == Purpose.TRAIN and recipient is None:
        recipient = _own_recipient()
    elif recipient is not None:
        grant_options.check_recipient(recipient)
    try:
        wanted = Grant(
            owner=signer_key.did,
            artefact=facts["id"],
            root=facts["root"],
            name=name or facts["name"],
            purpose=Purpose(purpose),
            issued=now,
            expires=grant_options.moment(expires, now),
            measurements=grant_options.measurements(
                measurement or [], signer or [], unsafe_dev=unsafe_dev
            ),
            signers=tuple(signer or ()),
            policy=grant_options.floor(policy),
            unsafe_dev=unsafe_dev,
            programs=grant_options.programs(program or [], purpose),
            recipient=recipient,
            uses=uses,
            price=grant_options.price(price),
            lease_s=lease,
        )
        signed = wanted.sign(signer_key)
    except MalformedError as error:
        hint = "`privity model grant --help` says what each option takes"
        raise InputError(error.message, hint=hint) from None
    place, line = _hand_over(broker, signed, key, unsafe_dev=unsafe_dev)
    _tell_granted(signed, place, line, as_json=as_json)


def revoke(
    which: Annotated[
        str,
        typer.Argument(
            help="A grant's id or the beginning of it, or an artefact's id for all its grants.",
            metavar="GRANT|ARTEFACT",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "no reason given",
    as_json: JsonOption = False,
) -> None:
    """Take a grant back. Enclaves that use the key drop it within their lease."""
    from privity.attest.grant_revocation import GrantRevocation
    from privity.errors import InputError, MalformedError
    from privity.home import home
    from privity.identity.keystore import device_key
    from privity.identity.timestamps import utc_now
    from privity.node.owner_client import is_url, keep, local_broker, revoke_at

    key = device_key()
    done: list[tuple[Given, bool]] = []
    # What was taken back before comes last: it keeps nothing else from being taken back.
    for one in sorted(_find(which), key=lambda one: one.revocation is not None):
        try:
            revocation = GrantRevocation(one.signed.digest, key.did, reason, utc_now()).sign(key)
        except MalformedError as error:
            raise InputError(error.message, hint="--reason 'TEXT', one line") from None
        if is_url(one.broker):
            stood = revoke_at(one.broker, revocation)
        else:
            stood = local_broker(Path(one.broker), key.did).revoke(revocation) is not None
        if one.revocation is None:
            keep(home() / "grants", replace(one, revocation=revocation))
        done.append((one, stood))
    _tell_revoked(done, as_json=as_json)


def grants(as_json: JsonOption = False) -> None:
    """List the grants you gave.

    How they stand is shown too, where the broker is on this machine.
    """
    from privity.identity.timestamps import utc_now

    copies, now = _given(), utc_now()
    states = _states(copies)
    rows = [_row(one, states.get(one.signed.digest), now) for one in copies]
    if as_json:
        output.emit_json(rows)
        return
    if not rows:
        output.note("no grants yet; `privity model grant` gives one")
    for one, row in zip(copies, rows, strict=True):
        output.out(output.harmless(_listed(row)))
        allows = output.label_rows(grant_text.allowed_rows(one.signed.grant, whole=False))
        output.out(output.harmless(textwrap.indent(allows, "    ")))


def _open(where: str) -> tuple[dict[str, str], bytes]:
    """Return an artefact's facts and its key, which one's own vault key opens."""
    from privity.vault import Reader, owner_identity, read_header, unwrap
    from privity.vault.store import open_store_reader

    with closing(open_store_reader(where)) as source:
        key = unwrap(read_header(source), owner_identity())
        reader = Reader(source, key)
        return {"id": reader.id, "root": reader.root, "name": reader.meta.name}, key.unsafe_bytes()


def _own_recipient() -> str:
    from privity.vault import owner_identity

    return str(owner_identity().recipient)


def _hand_over(
    broker: str | None, signed: SignedGrant, key: bytes, *, unsafe_dev: bool
) -> tuple[str, str | None]:
    """Give grant and key to the broker; return where that is, and its kinds of evidence."""
    from privity.home import home
    from privity.identity.keystore import device_key
    from privity.infer.config import load_config
    from privity.node.owner_client import Given, is_url, keep, local_broker, send
    from privity.policy.evidence import EvidencePolicy

    owner = device_key()
    kinds = None
    if broker is not None and is_url(broker):
        # In no log: nobody but its owners is to see the same broker, each by a challenge of theirs.
        trust = load_config().trust(EvidencePolicy(log=False))
        attested = send(broker, signed, key, owner, trust=trust, unsafe_dev=unsafe_dev)
        place, kinds = broker, " + ".join(attested.kinds)
    else:
        folder = Path(broker).absolute() if broker else home() / "broker"
        local_broker(folder, owner.did).add(signed, key)
        place = str(folder)
    keep(home() / "grants", Given(signed, place))
    return place, kinds


def _tell_revoked(done: list[tuple[Given, bool]], *, as_json: bool) -> None:
    """Say of each grant whether it stood until now, and which others still allow the same."""
    from privity.identity.timestamps import utc_now

    copies, now = _given(), utc_now()
    states = _states(copies)
    still: dict[str, list[str]] = {one.signed.grant.artefact: [] for one, _ in done}
    for one in copies:
        how = grant_text.standing(one, states.get(one.signed.digest), now)
        if how in ("runs", "unknown") and one.signed.grant.artefact in still:
            still[one.signed.grant.artefact].append(one.signed.digest)
    if as_json:
        output.emit_json(
            [
                {
                    "grant": one.signed.digest,
                    "broker": one.broker,
                    "already": not stood,
                    "still": still[one.signed.grant.artefact],
                }
                for one, stood in done
            ]
        )
        return
    for one, stood in done:
        name, lease = grant_text.short(one.signed.digest), one.signed.grant.lease_s
        drop = f"revoked {name}: enclaves drop it within {lease} s"
        output.out(drop if stood else f"{name} was revoked already")
    for artefact, names in still.items():
        for name in names:
            told = f"grant {grant_text.short(name)} still allows it"
            output.note(f"{told}; `privity model revoke {artefact}` ends all")


def _tell_granted(signed: SignedGrant, place: str, kinds: str | None, *, as_json: bool) -> None:
    from privity.identity.timestamps import format_time

    given: Grant = signed.grant
    facts: dict[str, Any] = {"grant": signed.digest, "artefact": given.artefact}
    facts |= {"name": given.name, "purpose": given.purpose.value, "root": given.root}
    facts |= {"expires": format_time(given.expires), "uses": given.uses, "lease_s": given.lease_s}
    facts |= {"owner": given.owner, "broker": place}
    rows = {
        name.replace("_", " "): "any" if value is None else str(value)
        for name, value in facts.items()
    }
    facts |= grant_text.allowed(given)
    rows |= grant_text.allowed_rows(given, whole=True)
    if kinds is not None:
        rows["broker's evidence"] = facts["broker_evidence"] = kinds
    _tell(facts, output.label_rows(rows), as_json=as_json)
    if given.unsafe_dev:
        output.note("dev evidence is accepted: whoever runs the enclave's machine can have the key")
    if given.price is not None:
        output.note(grant_text.NO_LEDGER)


def _tell(facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        output.emit_json(facts)
    else:
        output.out(output.harmless(text))


def _given() -> list[Given]:
    from privity.home import home
    from privity.node.owner_client import given

    return given(home() / "grants")


def _states(copies: list[Given]) -> dict[str, GrantState]:
    """Return how the grants stand whose broker's folder is on this machine."""
    from privity.identity.keystore import device_key
    from privity.node.owner_client import is_url, local_broker

    owner = device_key().did
    folders = {Path(one.broker) for one in copies if not is_url(one.broker)}
    return {
        state.signed.digest: state
        for folder in folders
        if folder.is_dir()
        for state in local_broker(folder, owner).grants()
    }


def _find(which: str) -> list[Given]:
    from privity.errors import InputError

    copies = _given()
    wanted = which.removeprefix("sha256:")
    found = [one for one in copies if one.signed.grant.artefact == wanted]
    if not found and len(wanted) >= 6:
        found = [one for one in copies if one.signed.digest[7:].startswith(wanted)]
        if len(found) > 1:
            raise InputError(f"{which} begins several grants", hint="give more of it")
    if not found:
        raise InputError(f"you gave no grant {which!r}", hint="`privity model grants` lists them")
    return found


def _row(one: Given, state: GrantState | None, now: datetime) -> dict[str, Any]:
    from privity.identity.timestamps import format_time

    given: Grant = one.signed.grant
    reason = None if state is None else state.revoked
    if reason is None and one.revocation is not None:
        reason = one.revocation.revocation.reason
    return {
        "grant": one.signed.digest,
        "artefact": given.artefact,
        "name": given.name,
        "purpose": given.purpose.value,
        "expires": format_time(given.expires),
        "state": grant_text.standing(one, state, now),
        "reason": reason,
        "uses": None if state is None else state.uses,
        "of": given.uses,
        "broker": one.broker,
        **grant_text.allowed(given),
    }


def _listed(row: dict[str, Any]) -> str:
    """Return the line of a grant in the list."""
    stands = row["state"] in ("runs", "unknown")
    said = grant_text.NO_LEDGER if stands and row["price"] is not None else row["state"]
    uses = "unknown" if row["uses"] is None else str(row["uses"])
    used = uses if row["of"] is None else f"{uses} of {row['of']}"
    terms = f"{said}, {row['purpose']}, used {used}, to {row['expires']}"
    return f"{grant_text.short(row['grant'])}  {row['name']}  {terms}  {row['broker']}"

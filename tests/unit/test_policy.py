"""Presets and policy files, what they admit, and how a refusal is told."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, PolicyRefusal
from privity.policy import NO_CEILING, PRESETS, AdmittedRoute, Ceiling, Policy

SEALED = frozenset({Basis(Ground.MATHEMATICS, "sealed")})
HARDWARE = frozenset({Basis(Ground.HARDWARE, "Intel TDX")})
SOFTWARE = frozenset({Basis(Ground.PROMISE, "plain software")})
NO_STOP = frozenset({Basis(Ground.NOTHING, "a dev enclave does not stop its host")})
APART = frozenset({Basis(Ground.QUORUM, "relay and host do not compare notes")})
CONTENTS = (Asset.PROMPT, Asset.ANSWER)


@dataclass
class Way:
    """A route with a disclosure of its own."""

    disclosure: Disclosure
    name: str = "confidential via relay.example"
    terms: None = None


def local() -> Disclosure:
    yours = (Party.PERSON, Party.DEVICE)
    return Disclosure({(p, a): Cell(View.EVERYTHING) for p in yours for a in CONTENTS})


def sealed(*, dev: bool, relay: bool = True) -> Disclosure:
    cells = dict(local().cells)
    for asset in CONTENTS:
        cells[Party.ENCLAVE, asset] = Cell(View.EVERYTHING, SOFTWARE if dev else HARDWARE)
        host = Cell(View.EVERYTHING, NO_STOP) if dev else Cell(View.SIZE, HARDWARE | SEALED)
        cells[Party.HOST, asset] = host
        cells[Party.OBSERVER, asset] = Cell(View.SIZE, SEALED)
        if relay:
            cells[Party.RELAY, asset] = Cell(View.SIZE, SEALED)
    cells[Party.OBSERVER, Asset.ADDRESS] = Cell(View.EVERYTHING)
    if relay:
        cells[Party.RELAY, Asset.ADDRESS] = Cell(View.EVERYTHING)
    hidden = Cell(View.NOTHING, APART, frozenset({"the relay"}))
    for party in (Party.ENCLAVE, Party.HOST):
        cells[party, Asset.ADDRESS] = hidden if relay else Cell(View.EVERYTHING)
    return Disclosure(cells)


def retained() -> Disclosure:
    promise = frozenset({Basis(Ground.PROMISE, "zero retention")})
    cells = {(Party.PROVIDER, asset): Cell(View.EVERYTHING, promise) for asset in CONTENTS}
    return Disclosure({**cells, (Party.PROVIDER, Asset.ADDRESS): Cell(View.EVERYTHING)})


def admitted_by(disclosure: Disclosure) -> list[str]:
    names = []
    for name in PRESETS:
        try:
            Policy.load(name).admit(Way(disclosure))
        except PolicyRefusal:
            continue
        names.append(name)
    return names


@pytest.mark.parametrize(
    ("disclosure", "presets"),
    [
        (local(), ["local-only", "anonymous", "confidential", "zero-retention", "dev"]),
        (sealed(dev=False), ["anonymous", "confidential", "zero-retention", "dev"]),
        (sealed(dev=False, relay=False), ["confidential", "zero-retention", "dev"]),
        (sealed(dev=True), ["dev"]),
        (sealed(dev=True, relay=False), ["dev"]),
        (retained(), ["zero-retention"]),
        (retained() | sealed(dev=True), []),
    ],
)
def test_what_each_preset_admits(disclosure: Disclosure, presets: list[str]) -> None:
    assert admitted_by(disclosure) == presets


def test_presets_loosen_in_their_order() -> None:
    local_only, anonymous, confidential, zero_retention, dev = map(Policy.load, PRESETS)
    assert local_only <= anonymous <= confidential
    assert confidential <= zero_retention
    assert confidential <= dev
    assert not dev <= zero_retention
    assert not zero_retention <= dev
    assert not confidential <= anonymous
    assert not anonymous <= local_only


@pytest.mark.parametrize("party", [Party.ENCLAVE, Party.HOST, Party.RELAY, Party.OBSERVER])
@pytest.mark.parametrize("ground", [Ground.PROMISE, Ground.NOTHING])
def test_no_preset_but_dev_lets_plain_software_read(party: Party, ground: Ground) -> None:
    cell = Cell(View.EVERYTHING, frozenset({Basis(ground, "dev")}))
    route = Disclosure({(party, Asset.PROMPT): cell})
    assert set(admitted_by(route)) <= {"dev"}


def test_a_pair_without_a_ceiling_may_have_nothing_resting_on_mathematics() -> None:
    policy = Policy("mine", {})
    pair = (Party.PEERS, Asset.RECORDS)
    assert policy[pair] == NO_CEILING == Ceiling(View.NOTHING, frozenset({Ground.MATHEMATICS}))
    policy.admit(Way(Disclosure({pair: Cell(View.NOTHING, SEALED)})))
    for cell in (Cell(View.SIZE), Cell(View.NOTHING, SOFTWARE)):
        with pytest.raises(PolicyRefusal):
            policy.admit(Way(Disclosure({pair: cell})))


def test_only_admit_makes_an_admitted_route() -> None:
    policy, way = Policy.load("dev"), Way(sealed(dev=True))
    admitted = policy.admit(way)
    assert admitted.route is way
    assert admitted.policy is policy
    for mint in (None, object(), True):
        with pytest.raises(TypeError):
            AdmittedRoute(way, policy, way.disclosure, mint)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(admitted, policy=Policy.load("local-only"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        admitted.route = Way(retained())  # type: ignore[misc]


def test_a_route_that_changes_later_does_not_change_what_was_admitted() -> None:
    way = Way(sealed(dev=False))
    admitted = Policy.load("confidential").admit(way)
    before = copy.copy(way.disclosure)
    way.disclosure = sealed(dev=True)
    assert admitted.disclosure == before


def test_a_refusal_names_the_worst_cell_in_words() -> None:
    with pytest.raises(PolicyRefusal) as caught:
        Policy.load("confidential").admit(Way(sealed(dev=True)))
    assert caught.value.message == (
        "policy `confidential` refuses route `confidential via relay.example`: the host could "
        "read the prompt and the answer (rests on nothing: a dev enclave does not stop its "
        "host); allowed at most: size, resting on hardware or mathematics. Also, the enclave "
        "reads the prompt and the answer (rests on a promise: plain software); allowed at most: "
        "everything, resting on hardware or mathematics."
    )
    assert caught.value.hint == (
        "policy `dev` would allow it; or keep a policy file of your own, with no more than it "
        "takes:\n"
        "\n"
        '    name = "mine"\n'
        '    extends = "confidential"\n'
        "\n"
        "    [enclave]\n"
        '    prompt = { view = "everything", grounds = ["promise", "hardware", "mathematics"] }\n'
        '    answer = { view = "everything", grounds = ["promise", "hardware", "mathematics"] }\n'
        "\n"
        "    [host]\n"
        '    prompt = { view = "everything", grounds = ["nothing", "hardware", "mathematics"] }\n'
        '    answer = { view = "everything", grounds = ["nothing", "hardware", "mathematics"] }'
    )


def test_the_report_of_a_refusal() -> None:
    with pytest.raises(PolicyRefusal) as caught:
        Policy.load("confidential").admit(Way(sealed(dev=True)))
    report = caught.value.report
    assert report["policy"] == "confidential"
    assert report["route"] == "confidential via relay.example"
    assert report["presets_that_allow"] == ["dev"]
    offending = report["offending"]
    assert isinstance(offending, list)
    assert [(one["party"], one["asset"]) for one in offending] == [
        ("host", "prompt"),
        ("host", "answer"),
        ("enclave", "prompt"),
        ("enclave", "answer"),
    ]
    assert offending[0] == {
        "party": "host",
        "asset": "prompt",
        "view": "everything",
        "grounds": ["nothing"],
        "basis": [{"ground": "nothing", "why": "a dev enclave does not stop its host"}],
        "ceiling": {"view": "size", "grounds": ["hardware", "mathematics"]},
    }


def test_many_reasons_are_counted_and_no_route_name_drives_the_terminal() -> None:
    with pytest.raises(PolicyRefusal) as caught:
        Policy.load("local-only").admit(Way(sealed(dev=True), name="\x1b[2Jevil"))
    assert "\x1b" not in caught.value.message
    assert caught.value.message.endswith(" more cells.")


def test_a_refusal_by_an_own_policy_gives_lines_for_that_file() -> None:
    policy = Policy.parse('[relay]\nprompt = { view = "nothing", grounds = [] }')
    route = Disclosure({(Party.RELAY, Asset.PROMPT): Cell(View.SIZE, SOFTWARE)})
    with pytest.raises(PolicyRefusal) as caught:
        policy.admit(Way(route))
    assert caught.value.report["least_change"] == [
        "[relay]",
        'prompt = { view = "size", grounds = ["promise"] }',
    ]
    assert "no preset would allow it; or change your policy file" in caught.value.hint


# Policy files


def test_every_packaged_file_is_a_preset_and_the_reverse() -> None:
    files = {
        Path(file.name).stem for file in resources.files("privity").joinpath("policies").iterdir()
    }
    assert files == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_copied_under_another_name(name: str, tmp_path: Path) -> None:
    text = resources.files("privity").joinpath("policies", f"{name}.toml").read_text("utf-8")
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match="would pass for it in receipts"):
        Policy.load(file)
    file.write_text(text.replace(f'name = "{name}"', ""))
    copied = Policy.load(str(file))
    assert copied.name == "mine"
    assert copied.ceilings == Policy.load(name).ceilings
    assert Policy.parse(copied.to_toml()) == copied


def test_a_file_named_like_a_preset_does_not_shadow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loose = '[host]\nall = { view = "everything", grounds = "any" }'
    Path("confidential").write_text(loose)
    Path("dev.toml").write_text(loose)
    assert Policy.load("confidential") is Policy.load("confidential")
    assert not Policy.load("confidential")[Party.HOST, Asset.PROMPT].view & View.CONTENT
    with pytest.raises(InputError, match="'dev' is a preset"):
        Policy.load("dev.toml")


def test_single_assets_override_all_of_a_party_and_own_lines_what_is_extended() -> None:
    policy = Policy.parse(
        """
        extends = "confidential"
        [peers]
        prompt = { view = "aggregate", grounds = ["noise"] }
        all = { view = "size", grounds = "any" }
        [relay]
        address = { view = "nothing", grounds = [] }
        """
    )
    assert policy[Party.PEERS, Asset.PROMPT] == Ceiling(View.AGGREGATE, frozenset({Ground.NOISE}))
    assert policy[Party.PEERS, Asset.UPDATE] == Ceiling(View.SIZE, frozenset(Ground))
    assert policy[Party.RELAY, Asset.ADDRESS] == Ceiling()
    pair = (Party.ENCLAVE, Asset.PROMPT)
    assert policy[pair] == Policy.load("confidential")[pair]


CELL = '{ view = "size", grounds = ["mathematics"] }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("relay", "not TOML"),
        ("name = 1", "`name` is a number; expected a string"),
        ('name = "My Policy"', "'My Policy' cannot name a policy"),
        ('name = "dev"', "`name`: 'dev' is a preset"),
        ('summary = "a\\u001bb"', "summary is one line"),
        ("summary = []", "`summary` is a list; expected a string"),
        ('extends = "trusting"', "`extends`: 'trusting' is not a preset"),
        ('extends = "../dev"', "'../dev' is not a preset"),
        (f"[relai]\nprompt = {CELL}", "unknown key 'relai'"),
        ("relay = true", "`relay` is a boolean; expected a table"),
        (f"[relay]\npromt = {CELL}", "unknown key 'promt' in `relay`"),
        ('[relay]\nprompt = "size"', "`relay.prompt` is a string; expected `{"),
        ('[relay.prompt]\nview = "size"', "`relay.prompt` says no `grounds`"),
        ("[relay.prompt]\ngrounds = []", "`relay.prompt` says no `view`"),
        ('[relay]\nprompt = { view = "some", grounds = [] }', "`relay.prompt.view`: 'some' is not"),
        ("[relay]\nprompt = { view = 1, grounds = [] }", "`relay.prompt.view` is a number"),
        ('[relay]\nprompt = { view = "size", grounds = "all" }', "`relay.prompt.grounds` is a str"),
        ('[relay]\nall = { view = "size", grounds = ["faith"] }', "'faith' is not a ground"),
        ('[relay]\nall = { view = "size", grounds = [[]] }', "[] is not a ground"),
        (
            '[relay]\nall = { view = "size", grounds = [], unless = 1 }',
            "unknown key 'unless' in `relay.all`",
        ),
    ],
)
def test_errors_name_the_file_and_the_key(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "their.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        Policy.load(file)
    assert caught.value.message.startswith(f"{file}: ")
    assert message in caught.value.message


def test_a_misspelt_key_gets_the_right_one_as_a_hint() -> None:
    with pytest.raises(InputError) as caught:
        Policy.parse("[relay]\npromt = 1")
    assert caught.value.hint.startswith("did you mean `prompt`?")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "\xe9"')
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (64 * 1024 + 1))
    for path, reason in [
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (latin, "not UTF-8 at byte 8"),
        (large, "larger than 65536 bytes"),
        (Path("a\0b.toml"), "not a path"),
    ]:
        with pytest.raises(InputError, match=reason):
            Policy.load(path)


@pytest.mark.parametrize("name", ["trusting", "", "CONFIDENTIAL", "dev\n"])
def test_an_unknown_name_lists_the_presets(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Policy.load(name)
    assert "local-only, anonymous, confidential" in caught.value.hint

"""Provider profiles: those that ship, one of a person's own, and the disclosure they amount to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from privity.disclosure import Asset, Ground, Party, View
from privity.errors import InputError
from privity.infer.catalogue import Price
from privity.infer.peers import ProviderPeer
from privity.infer.providers.desk import Desk
from privity.infer.providers.profile import SHIPPED, load_profile, offers
from privity.infer.routes.zero_retention import ZeroRetentionRoute, zero_retention_route
from privity.policy import Feature, Mode, Policy, SensitivePolicy, TermsPolicy

OWN = """
name = "own"
title = "Own Cloud"
speaks = "chat"
url = "https://api.own.example/inference/v1"
key_env = "OWN_KEY"

[[terms]]
retention_days = 0
training = false
source = "Privacy, https://own.example/privacy"
as_of = 2026-11-01

[dialect]
no_store = ["/v1/chat/completions"]
fields = ["min_p"]

[[model]]
id = "big"
context = 8192
price = { currency = "EUR", prompt = 1, completion = 2.5 }
"""


def route(peer: ProviderPeer, policy: str | Policy = "dev") -> ZeroRetentionRoute:
    found = Policy.load(policy) if isinstance(policy, str) else policy
    return zero_retention_route(
        peer,
        load_profile(peer.profile),
        policy=found,
        pseudonyms=lambda: pytest.fail("nothing is asked"),  # type: ignore[arg-type,return-value]
    )


def label(peer: ProviderPeer) -> str:
    (text,) = route(peer).disclosure.labels[Party.PROVIDER]
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_profile_states_its_terms_with_a_source_and_a_date(name: str) -> None:
    profile = load_profile(name)
    for agreement in profile.agreements.values():
        assert "https://" in agreement.terms.source
        assert date(2025, 1, 1) < agreement.terms.as_of <= date.today()
    everyone = profile.agreement().terms
    assert everyone.retention_days == 30 and everyone.training is False
    assert TermsPolicy().offences(everyone)  # without an agreement, zero retention refuses it
    assert all(model.context for model in profile.models)


def test_only_the_agreement_a_person_has_counts() -> None:
    with_one = route(ProviderPeer("o", "openai", agreement="zdr"))
    assert TermsPolicy().offences(with_one.terms) == ()
    assert with_one.terms.agreement == "zdr"
    with pytest.raises(InputError, match="no agreement 'gold'") as caught:
        route(ProviderPeer("o", "openai", agreement="gold"))
    assert '"zdr"' in caught.value.hint


def test_models_an_agreement_does_not_cover_are_not_offered_with_it() -> None:
    profile = load_profile("anthropic")
    everyone = [one.model for one in offers(ProviderPeer("a", "anthropic"), profile)]
    covered = [
        one.model for one in offers(ProviderPeer("a", "anthropic", agreement="zdr"), profile)
    ]
    assert set(everyone) - set(covered) == {"claude-fable-5-1"}
    for model in ("claude-fable-9", "Claude-Mythos-5"):
        peer = ProviderPeer("a", "anthropic", agreement="zdr", models=(model,))
        with pytest.raises(InputError, match="does not hold for the model"):
            offers(peer, profile)


def test_offers_say_where_a_model_is_and_what_it_costs() -> None:
    peer = ProviderPeer("work", "openai", agreement="zdr", models=("gpt-6-luna", "gpt-x"))
    luna, unknown = offers(peer, load_profile("openai"))
    assert luna.name == "zdr/work/gpt-6-luna"
    assert luna.price == Price("USD", 0.1, 0.5)
    assert luna.context == 1_050_000 and "tools" in luna.can
    assert unknown.name == "zdr/work/gpt-x" and unknown.price is None and unknown.context is None


def test_a_file_makes_any_compatible_provider_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    found = route(ProviderPeer("own", str(file)))
    assert [model.id for model in found.models] == ["big"]
    assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == {Ground.PROMISE}
    desk = Desk(ProviderPeer("own", str(file)), load_profile(file))
    asked = {"model": "big", "messages": [], "min_p": 0.1}
    sent = desk.outgoing("/v1/chat/completions", desk.examine("/v1/chat/completions", asked))
    assert sent.url == "https://api.own.example/inference/v1/chat/completions"
    assert b'"store":false' in sent.content and b'"min_p":0.1' in sent.content


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('key_env = "OWN_KEY"', 'key_env = "OWN_KEY"\nkeep = 1', "`keep` is not known"),
        ("context = 8192", "context = 8192\nsize = 3", r"`model\[0\].size` is not known"),
        ("no_store =", "nostore = 1\nno_store =", "`dialect.nostore` is not known"),
        ("training = false", 'training = "no"', "must be true or false"),
        ("retention_days = 0", "retention_days = -1", "is no count"),
        ("retention_days = 0", "retention_days = true", "must be a whole number"),
        ("as_of = 2026-11-01", 'as_of = "2026-11-01"', "must be a date"),
        ('source = "Privacy', 'agreement = "x"\nsource = "Privacy', "for everyone, are missing"),
        ('speaks = "chat"', 'speaks = "gemini"', "must be"),
        ("https://api.own", "ftp://api.own", "not an http or https URL"),
        ('key_env = "OWN_KEY"', 'key_env = "OWN KEY"', "environment variable"),
        ('fields = ["min_p"]', 'fields = ["store"]', "has already"),
        ("completion = 2.5", "completion = nan", "is no price"),
        ("completion = 2.5", "completion = 2.5, tax = 1", "price.tax` is not known"),
        ("[dialect]", '[dialect]\nkey_header = "Host"', "key_header"),
        ("[dialect]", '[dialect]\nkey_header = "cookie"', "is set"),
        ("[dialect]", '[dialect]\nversion_header = "authorization"', "does not set"),
        ("[dialect]", '[dialect]\npaths = { "/v1/files" = "/v1/files" }', "not served"),
        ("[dialect]", '[dialect]\npaths = { "/v1/chat/completions" = "/a?b" }', "that is none"),
        ("[dialect]", '[dialect]\npaths = { "/v1/embeddings" = "/e" }', "must serve"),
        ('name = "own"', 'name = "Own/.."', "lower-case"),
        ('name = "own"', "name = ", "not TOML"),
    ],
)
def test_a_profile_with_a_mistake_is_refused_and_the_key_named(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    assert before in OWN
    file.write_text(OWN.replace(before, after, 1))
    with pytest.raises(InputError, match=said):
        load_profile(str(file))


def test_a_name_is_that_of_a_shipped_profile_whatever_files_lie_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("openai").write_text(OWN)
    assert load_profile("openai").title == "OpenAI"
    with pytest.raises(InputError, match="no provider profile 'own'") as caught:
        load_profile("own")
    assert "openai" in caught.value.hint
    with pytest.raises(InputError, match="cannot read"):
        load_profile("own.toml")


def test_the_disclosure_is_a_promise_and_the_account_is_ones_own() -> None:
    table = route(ProviderPeer("o", "openai", agreement="zdr")).disclosure
    for asset in (Asset.PROMPT, Asset.ANSWER):
        cell = table[Party.PROVIDER, asset]
        assert cell.view == View.EVERYTHING and cell.grounds == {Ground.PROMISE}
        (basis,) = cell.basis
        assert basis.why == (
            "OpenAI says it keeps nothing and trains on nothing (as of 2026-04-07)"
        )
        assert table[Party.OBSERVER, asset].view == View.SIZE
        assert table[Party.OBSERVER, asset].grounds == {Ground.MATHEMATICS}
    for asset in (Asset.IDENTITY, Asset.ADDRESS, Asset.PAYMENT):
        assert table[Party.PROVIDER, asset].view == View.EVERYTHING
        assert table[Party.PROVIDER, asset].basis == frozenset()
    assert table[Party.OBSERVER, Asset.ADDRESS].view == View.EVERYTHING
    assert label(ProviderPeer("o", "openai")) == "provider · openai, pseudonymised"


def test_what_a_provider_does_not_say_is_said(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace("retention_days = 0\n", "").replace("training = false\n", ""))
    (basis,) = route(ProviderPeer("o", str(file))).disclosure[Party.PROVIDER, Asset.PROMPT].basis
    assert basis.why == (
        "Own Cloud does not say how long it keeps it nor whether it trains on it (as of 2026-11-01)"
    )


def test_without_replacing_the_label_says_nothing_of_pseudonyms() -> None:
    policy = Policy.load("dev")
    for mode in (Mode.REFUSE, Mode.WARN):
        plain = Policy(policy.name, policy.ceilings, sensitive=SensitivePolicy(mode=mode))
        (text,) = route(ProviderPeer("o", "openai"), plain).disclosure.labels[Party.PROVIDER]
        assert text == "provider · openai"


@pytest.mark.parametrize(
    ("url", "why", "ending"),
    [
        ("http://127.0.0.1:8601/v1", "a stand-in on this machine", " · dev"),
        ("https://localhost:8601", "a stand-in on this machine", " · dev"),
        ("http://[::1]:8601", "a stand-in on this machine", " · dev"),
        ("http://api.openai.com", "sent in the clear", " · dev"),
        ("https://gateway.example/v1", "not an address of OpenAI", " at gateway.example"),
        ("https://api.openai.com.evil.example", "not an address of OpenAI", "evil.example"),
    ],
)
def test_an_address_that_is_not_the_providers_is_under_no_promise(
    url: str, why: str, ending: str
) -> None:
    peer = ProviderPeer("o", "openai", url=url, agreement="zdr")
    table = route(peer).disclosure
    for asset in (Asset.PROMPT, Asset.ANSWER, Asset.IDENTITY, Asset.ADDRESS, Asset.PAYMENT):
        (basis,) = table[Party.PROVIDER, asset].basis
        assert basis.ground is Ground.NOTHING and basis.why.startswith(why)
    assert label(peer).endswith(ending)
    if ending == " · dev" and "openai.com" not in url:
        assert table[Party.OBSERVER, Asset.PROMPT].view == View.NOTHING  # on no wire
    elif url.startswith("http:"):
        assert table[Party.OBSERVER, Asset.PROMPT].view == View.EVERYTHING
        assert table[Party.OBSERVER, Asset.PROMPT].grounds == {Ground.NOTHING}


def test_a_region_is_asked_for_and_stated() -> None:
    peer = ProviderPeer("o", "openai", region="eu", agreement="zdr")
    found = route(peer)
    assert found.terms.regions == ("eu",)
    desk = Desk(peer, load_profile("openai"))
    assert desk.base == "https://eu.api.openai.com"
    assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == {Ground.PROMISE}
    with pytest.raises(InputError, match="cannot be asked for the region 'mars'"):
        route(ProviderPeer("o", "openai", region="mars"))
    with pytest.raises(InputError, match="a region and a URL of its own"):
        route(ProviderPeer("o", "openai", region="eu", url="https://api.openai.com"))
    claude = Desk(ProviderPeer("a", "anthropic", region="us"), load_profile("anthropic"))
    body = {"model": "claude-opus-5-5", "max_tokens": 5, "messages": []}
    assert b'"inference_geo":"us"' in claude.outgoing("/v1/messages", body).content


def test_azure_has_deployments_and_an_address_of_the_persons_own() -> None:
    with pytest.raises(InputError, match="has no model"):
        route(ProviderPeer("z", "azure-openai", url="https://me.openai.azure.com"))
    deployed = {"gpt-6.2-sol": "my-sol"}
    with pytest.raises(InputError, match="has no URL"):
        route(ProviderPeer("z", "azure-openai", deployments=deployed))
    for name in ("a/b", "", "../x", "a?b", "x" * 200):
        peer = ProviderPeer(
            "z", "azure-openai", "https://me.openai.azure.com", deployments={"m": name}
        )
        with pytest.raises(InputError, match="names no deployment"):
            route(peer)
    for model in ("", "m" * 300):
        with pytest.raises(InputError, match="has no name"):
            route(ProviderPeer("o", "openai", models=(model,)))
    peer = ProviderPeer(
        "z",
        "azure-openai",
        "https://me.privatelink.openai.azure.com",
        deployments=deployed,
        region="swedencentral",
    )
    found = route(peer)
    assert found.terms.regions == ("swedencentral",)
    assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == {Ground.PROMISE}


@pytest.mark.parametrize(
    "given", ["https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1/"]
)
def test_azure_is_asked_by_its_v1_surface_or_by_a_version(given: str) -> None:
    profile, chat = load_profile("azure-openai"), "/v1/chat/completions"
    deployed = {"gpt-6.2-sol": "my-sol"}
    new = Desk(ProviderPeer("z", "azure-openai", given, deployments=deployed), profile)
    body = {"model": "gpt-6.2-sol", "messages": []}
    sent = new.outgoing(chat, body)
    assert sent.url == "https://me.openai.azure.com/openai/v1/chat/completions"
    assert b'"model":"my-sol"' in sent.content and b'"store":false' in sent.content
    dated = Desk(
        ProviderPeer("z", "azure-openai", given, deployments=deployed, api_version="2024-10-21"),
        profile,
    )
    sent = dated.outgoing(chat, body)
    assert sent.url == (
        "https://me.openai.azure.com/openai/deployments/my-sol/chat/completions"
        "?api-version=2024-10-21"
    )
    assert b"store" not in sent.content  # that surface has no such field
    sent = dated.outgoing("/v1/responses", {"model": "gpt-6.2-sol", "input": "x"})
    assert sent.url == "https://me.openai.azure.com/openai/responses?api-version=2024-10-21"
    assert b'"store":false' in sent.content


def test_a_model_that_can_is_asked_to_cache_nothing() -> None:
    profile, chat = load_profile("openai"), "/v1/chat/completions"
    flag = b'"prompt_cache_options":{"mode":"explicit"}'
    body = {"model": "gpt-6.2-sol", "messages": []}
    peer = ProviderPeer("o", "openai", models=("gpt-6.2-sol", "gpt-4.1"))
    assert flag in Desk(peer, profile).outgoing(chat, body).content
    allowed = Desk(peer, profile, frozenset({Feature.PROMPT_CACHING}))
    assert flag not in allowed.outgoing(chat, body).content
    older = Desk(peer, profile).outgoing(chat, body | {"model": "gpt-4.1"})
    assert flag not in older.content


def test_sampling_passes_only_to_a_version_that_takes_it() -> None:
    profile, path = load_profile("anthropic"), "/v1/chat/completions"
    turns = [{"role": "user", "content": "x"}]
    body = {"model": "claude-opus-5-5", "messages": turns, "temperature": 0.5}
    with pytest.raises(InputError, match="temperature"):
        Desk(ProviderPeer("a", "anthropic"), profile).outgoing(path, body)
    older = Desk(ProviderPeer("a", "anthropic", api_version="2023-06-01"), profile)
    assert b'"temperature":0.5' in older.outgoing(path, body).content
    assert older.headers == [("anthropic-version", "2023-06-01")]


def test_nothing_secret_or_said_is_in_a_repr() -> None:
    found = route(ProviderPeer("o", "openai"))
    sent = found._desk.outgoing("/v1/responses", {"model": "gpt-6.2-sol", "input": "kanarienvogel"})
    assert "kanarienvogel" not in repr(sent) and "/v1/responses" in repr(sent)
    assert "Desk" not in repr(found)

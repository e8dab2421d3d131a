"""The secret a provider knows a person by: only where it was told to come from, and never shown."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.infer.peers import ProviderPeer
from privity.infer.providers import credentials as credentials_module
from privity.infer.providers.credentials import Credentials
from privity.infer.providers.profile import load_profile

pytestmark = pytest.mark.anyio
TOKEN = "eyJhbGciOi.token-0123456789.sig"
COUNT = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x'); "


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def command(script: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *arguments)


def given(script: str, *arguments: str, clock: Clock | None = None) -> Credentials:
    peer = ProviderPeer("z", "azure-openai", token_command=command(script, *arguments))
    return Credentials(load_profile("azure-openai"), peer, clock=clock or Clock())


async def test_each_provider_takes_its_key_in_its_own_header() -> None:
    environ = {"OPENAI_API_KEY": "k1", "AZURE_OPENAI_API_KEY": "k2", "ANTHROPIC_API_KEY": "k3\n"}
    for name, header in (
        ("openai", ("authorization", "Bearer k1")),
        ("azure-openai", ("api-key", "k2")),
        ("anthropic", ("authorization", "Bearer k3")),
    ):
        peer = ProviderPeer("p", name)
        assert await Credentials(load_profile(name), peer, environ=environ).header() == header
    peer = ProviderPeer("p", "openai", key_env="MINE")
    mine = Credentials(load_profile("openai"), peer, environ=environ | {"MINE": "k4"})
    assert await mine.header() == ("authorization", "Bearer k4")
    with pytest.raises(InputError) as caught:
        await Credentials(load_profile("openai"), peer, environ=environ).header()
    assert "MINE" in caught.value.hint


@pytest.mark.parametrize(
    "printed",
    [
        TOKEN,
        TOKEN + "\n",
        json.dumps({"accessToken": TOKEN, "expiresOn": "2026-01-31 09:00:00.000000"}),
        json.dumps({"access_token": TOKEN, "expires_on": 1_800_003_600}),
        json.dumps({"token": TOKEN, "expires_on": "1800003600"}),
        json.dumps({"accessToken": TOKEN, "expires_on": "never"}),
        json.dumps({"accessToken": TOKEN, "expires_on": None}),
        json.dumps({"accessToken": TOKEN, "expires_on": "9" * 400}),
    ],
)
async def test_a_token_comes_from_a_command_without_a_shell(printed: str) -> None:
    found = given("import sys; print(sys.argv[1])", printed)
    assert await found.header() == ("authorization", f"Bearer {TOKEN}")
    assert TOKEN not in repr(found) and "token_command" in found.source


async def test_nothing_of_the_command_is_read_by_a_shell(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    found = given("import sys; print(len(sys.argv))", "; touch", str(mark), "$(id)", "`id`")
    assert await found.header() == ("authorization", "Bearer 5")
    assert not mark.exists()


async def test_a_token_is_asked_for_again_shortly_before_it_expires(tmp_path: Path) -> None:
    count, clock = tmp_path / "count", Clock()
    count.write_text("")
    expiry = clock.now + 1000
    printed = json.dumps({"accessToken": TOKEN, "expires_on": expiry})
    found = given(COUNT + "print(sys.argv[2])", str(count), printed, clock=clock)
    for passed, asked in ((0, 1), (600, 1), (690, 1), (701, 2), (701, 3)):
        clock.now = expiry - 1000 + passed
        await found.header()
        assert len(count.read_text()) == asked, passed
    found.forget()
    await found.header()
    assert len(count.read_text()) == 4


async def test_a_token_without_expiry_is_kept_for_minutes(tmp_path: Path) -> None:
    count, clock = tmp_path / "count", Clock()
    count.write_text("")
    found = given(COUNT + "print(sys.argv[2])", str(count), TOKEN, clock=clock)
    for passed, asked in ((0, 1), (239, 1), (241, 2)):
        clock.now = Clock.now + passed
        await found.header()
        assert len(count.read_text()) == asked
    # A local time, as `az` prints it, far in the future: an hour at most.
    far = datetime.fromtimestamp(clock.now + 10**6, UTC).astimezone().replace(tzinfo=None)
    printed = json.dumps({"accessToken": TOKEN, "expiresOn": str(far)})
    found = given(COUNT + "print(sys.argv[2])", str(count), printed, clock=clock)
    await found.header()
    clock.now += 3601
    await found.header()
    assert len(count.read_text()) == 4


@pytest.mark.parametrize(
    "script",
    [
        f"import sys; print('{TOKEN}'); sys.exit(1)",
        "",
        "print()",
        f"print('{TOKEN} {TOKEN}')",
        f"print('{TOKEN}\\r\\nx-evil: 1')",
        f"print('\\u00e9{TOKEN}')",
        f"""print('{{"error": "{TOKEN}"}}')""",
        f"""print('{{"accessToken": ["{TOKEN}"]}}')""",
        f"print('{{{TOKEN}')",
        "print('[' * 100000)",
        "print('{' * 100000)",
        f"import sys; sys.stderr.write('{TOKEN}'); sys.exit(3)",
        "import sys; sys.stdout.buffer.write(b'\\xff' * 100)",
        "print('x' * 17000)",
        "import os; os.write(1, b'x' * (1 << 24))",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
async def test_a_command_that_gives_no_token_is_an_error_that_shows_nothing(
    script: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = given(script)
    with pytest.raises(InputError) as caught:
        await found.header()
    error: BaseException | None = caught.value
    while error is not None:
        assert TOKEN not in f"{error!r} {error} {getattr(error, 'hint', '')}"
        error = error.__cause__
    assert TOKEN not in "".join(capfd.readouterr())


async def test_a_command_that_is_none_or_hangs_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for argv in (("/no/such/program",), (str(tmp_path),), ("a\0b",), ("",)):
        peer = ProviderPeer("z", "azure-openai", token_command=argv)
        with pytest.raises(InputError, match="gave no token"):
            await Credentials(load_profile("azure-openai"), peer).header()
    monkeypatch.setattr(credentials_module, "_COMMAND_S", 0.2)
    with pytest.raises(InputError, match="gave no token"):
        await given("import time; time.sleep(60)").header()
    with pytest.raises(InputError, match="gave no token"):
        await given("import os, time; os.close(1); time.sleep(60)").header()

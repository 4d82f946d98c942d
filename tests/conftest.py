"""What every test stands on: a home of its own, asyncio by default, and no process left behind."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.inside import Cli

# The collector would look at everything again and again, for a quarter of the time that the tests take. What
# they leave behind it still finds, only later.
gc.set_threshold(20_000)

# A busy machine is no fault of a test.
UNTIMED = (HealthCheck.too_slow,)
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=UNTIMED)
settings.register_profile("soak", max_examples=5_000, deadline=None, suppress_health_check=UNTIMED)
settings.load_profile("quick")

LONG = 60
"""Letters of a text that name a case."""

XDG_VARIABLES = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


def pytest_collection_finish() -> None:
    """What is there before the first test stays, and is never looked at again."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case by how a long text begins: some have a million letters."""
    if isinstance(val, str | bytes) and len(val) > LONG:
        return f"{val[:LONG]!r} and {len(val) - LONG} more"
    return None


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the program does.

    For virtual time a test is parametrized with
    `("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})` instead.
    """
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Python is told to write no bytecode, the programs that tests start share some of their own: else
    each of them, and there are hundreds, compiles all that it imports."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(shared / "bytecode"))
        yield


TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "TZ": "UTC"}
"""What tests take their terminal for, whichever they are run in."""

OF_OTHERS = (
    "NO_COLOR", "FORCE_COLOR", "PLANDECK_ASCII", "COLUMNS", "LINES", "LC_ALL", "LC_CTYPE", "PAGER",
    "LESS", "TMUX", "STY", "TERM_PROGRAM", "TERM_FEATURES", "KITTY_WINDOW_ID", "CI", "PLANDECK_OUTPUT",
    "DASK_SCHEDULER_ADDRESS",
)  # fmt: skip
"""What would make a difference, if whoever runs the tests has it set."""


@pytest.fixture(autouse=True)
def known_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for every test, wherever it runs."""
    for variable, value in TERMINAL.items():
        monkeypatch.setenv(variable, value)
    for variable in OF_OTHERS:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the state, the config or the cache of whoever runs it."""
    for variable in XDG_VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / variable.removeprefix("XDG_").lower()))


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line in this process: (exit code, stdout, stderr)."""
    from tui.cli.main import run_command_line  # most tests do without it

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_command_line([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a test that leaves a child process behind, running or not waited for; and end that child."""
    before = _children()
    yield
    left = _children() - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind: {sorted(left)}"


def _children() -> set[int]:
    """The children of every thread of this process; none where the system does not tell."""
    pids: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids.update(map(int, listing.read_text().split()))
        except OSError:  # the thread ended meanwhile
            continue
    return pids

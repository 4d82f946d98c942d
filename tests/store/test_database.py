"""Opening the database: made when it is first needed, brought up to date, refused in plain words."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.ground.folders import database_path, run_directory, state_directory
from engine.store import database
from engine.store.database import SCHEMA_VERSION, explain, open_database
from tests.store.conftest import Disk, Frozen
from tests.support.journals import child, diamond, write_run

OPEN = """
import sys
from pathlib import Path
from engine.store.database import open_database
sys.stdin.readline()
for _ in range(20):
    open_database(Path(sys.argv[1])).close()
print("opened", flush=True)
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def test_the_state_directory_follows_the_conventions(tmp_path: Path) -> None:
    assert state_directory() == tmp_path / "state_home" / "plandeck"


@pytest.mark.parametrize("run_id", ["", "..", "../../etc", "a/b", ".hidden", "a\0b"])
def test_a_run_id_never_leads_elsewhere(state: Path, run_id: str) -> None:
    with pytest.raises(StoreError, match="no run id"):
        run_directory(state, run_id)


def test_the_first_opening_makes_it_for_its_owner_alone(state: Path) -> None:
    connection = open_database(state)
    assert mode_of(state) == mode_of(state.parent) == 0o700
    files = sorted(state.iterdir())
    assert {path.name for path in files} >= {"plandeck.db", "plandeck.db-wal"}
    assert {mode_of(path) for path in files} == {0o600}
    connection.close()


def test_it_is_set_up_for_many_processes(state: Path) -> None:
    connection = open_database(state)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    assert version_of(connection) == SCHEMA_VERSION == len(database._sections())
    connection.close()


def test_a_reader_makes_nothing(state: Path) -> None:
    with pytest.raises(StoreError, match=str(state)):
        open_database(state, create=False)
    assert not state.exists()


def test_several_processes_may_be_the_first(state: Path) -> None:
    children = [child(OPEN, state) for _ in range(3)]
    for process in children:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in children] == ["opened\n"] * 3
    assert [process.returncode for process in children] == [0] * 3


def test_an_older_database_is_brought_forward(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(state, diamond("run"))
    sections = [
        *database._sections(),
        ["ALTER TABLE runs ADD COLUMN mood TEXT", "UPDATE runs SET mood = 'good'"],
    ]
    monkeypatch.setattr(database, "_sections", lambda: sections)
    monkeypatch.setattr(database, "SCHEMA_VERSION", len(sections))
    connection = open_database(state, create=False)
    assert version_of(connection) == len(sections)
    assert connection.execute("SELECT run_id, mood FROM runs").fetchall() == [("run", "good")]
    connection.close()
    open_database(state).close()  # and that once only


def test_a_step_forward_that_fails_leaves_it_as_it_was(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(state, diamond("run"))
    sections = [
        *database._sections(),
        ["ALTER TABLE runs ADD COLUMN mood TEXT", "INSERT INTO nowhere VALUES (1)"],
    ]
    with monkeypatch.context() as newer:
        newer.setattr(database, "_sections", lambda: sections)
        newer.setattr(database, "SCHEMA_VERSION", len(sections))
        with pytest.raises(StoreError, match="no such table: nowhere"):
            open_database(state)
    connection = open_database(state)
    assert version_of(connection) == SCHEMA_VERSION
    assert "mood" not in {column[1] for column in connection.execute("PRAGMA table_info(runs)")}
    connection.close()


def test_a_newer_database_is_refused_and_left_alone(state: Path) -> None:
    connection = open_database(state)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = database_path(state).read_bytes()
    with pytest.raises(StoreError, match=rf"newer plandeck \(schema {SCHEMA_VERSION + 1}") as refusal:
        open_database(state)
    assert str(database_path(state)) in str(refusal.value)
    assert database_path(state).read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, bytes(range(256)) * 64])
def test_a_file_that_is_no_database_is_told_and_kept(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    database_path(state).write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .*: move it away") as refusal:
        open_database(state)
    assert str(database_path(state)) in str(refusal.value)
    assert database_path(state).read_bytes() == content


def test_a_file_where_the_directory_should_be_is_told(state: Path) -> None:
    state.parent.mkdir()
    state.touch()
    with pytest.raises(StoreError, match=str(state)):
        open_database(state)


def test_a_directory_that_cannot_be_written_is_told(frozen: Frozen) -> None:
    frozen.freeze()
    with pytest.raises(StoreError, match=r"Permission denied.*XDG_STATE_HOME"):
        open_database(frozen.directory / "state")


def test_a_database_that_cannot_be_written_can_be_read(frozen: Frozen) -> None:
    write_run(frozen.directory, diamond("run"))
    frozen.freeze()
    connection = open_database(frozen.directory, create=False)
    assert connection.execute("SELECT run_id FROM runs").fetchall() == [("run",)]
    connection.close()


def test_a_database_that_can_be_written_is_not_taken_for_frozen(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is wrong must not be hidden by reading a file that others may be writing."""
    write_run(state, diamond("run"))

    def refuse(*_: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(database, "_prepare", refuse)
    with pytest.raises(StoreError, match="unable to open"):
        open_database(state)


def test_two_that_turn_to_wal_at_once_wait_for_each_other(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.mkdir(parents=True)
    other = sqlite3.connect(database_path(state), isolation_level=None)
    other.execute("CREATE TABLE something (it)")
    other.execute("BEGIN IMMEDIATE")

    def pause(_: float) -> None:
        other.execute("ROLLBACK")

    monkeypatch.setattr(database.time, "sleep", pause)
    connection = open_database(state)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    other.close()


def test_a_database_that_stays_locked_is_told(state: Path) -> None:
    state.mkdir(parents=True)
    other = sqlite3.connect(database_path(state), isolation_level=None)
    other.execute("CREATE TABLE something (it)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another program"):
        open_database(state, patience=0.0)
    other.close()


def test_a_full_disk_is_told(limited_files: Disk) -> None:
    limited_files.fill()
    try:
        with pytest.raises(StoreError, match=r"full"):
            open_database(limited_files.directory / "state")
    finally:
        limited_files.free()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (OSError(13, "Permission denied"), r"cannot write .* \(Permission denied\)"),
        (OSError("something odd"), "cannot write"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "cannot use .*closed database"),
    ],
)
def test_every_fault_names_the_file(error: OSError | sqlite3.Error, words: str) -> None:
    said = explain(Path("/somewhere/plandeck.db"), error)
    assert "/somewhere/plandeck.db" in said
    assert "\n" not in said
    with pytest.raises(StoreError, match=words):
        raise StoreError(said)


def test_anybody_can_look_into_it(state: Path) -> None:
    """The schema is read by people, with SQLite's own tool or another."""
    write_run(state, diamond("run"))
    connection = sqlite3.connect(database_path(state))
    told = connection.execute("SELECT outcome, success FROM runs").fetchall()
    assert told == [("success", 4)]
    connection.close()

"""Pruning: old runs go with all that is theirs, nothing else goes, and nothing that somebody has."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.ground.folders import database_path, run_directory
from engine.logs.attempt import attempt_log_path
from engine.store import prune as prune_module
from engine.store.database import open_database
from engine.store.history import History
from engine.store.journal import Journal
from engine.store.lock import RunLock
from engine.store.prune import Pruned
from tests.support.journals import DIAMOND, diamond, write_run

DAY = 86_400.0


def write_with_logs(state: Path, run_id: str) -> Path:
    """A run with a log; returns its folder."""
    write_run(state, diamond(run_id))
    folder = run_directory(state, run_id)
    log = attempt_log_path(folder, 0, 1)
    log.parent.mkdir(parents=True)
    log.write_text("output\n")
    return folder


def age(state: Path, run_id: str, seconds: float) -> None:
    connection = open_database(state)
    connection.execute("UPDATE runs SET ended = ? WHERE run_id = ?", (time.time() - seconds, run_id))
    connection.close()


def left(state: Path) -> list[str]:
    with History(state) as history:
        return sorted(record.run_id for record in history.runs(None))


def test_the_newest_are_kept(state: Path) -> None:
    folders = {run_id: write_with_logs(state, run_id) for run_id in ("a", "b", "c", "d")}
    with History(state) as history:
        assert history.prune(keep=2) == Pruned(("b", "a"))
        assert history.events("c") == diamond("c")
        assert history.prune(keep=2) == Pruned()
    assert left(state) == ["c", "d"]
    assert [run_id for run_id, folder in folders.items() if folder.exists()] == ["c", "d"]
    connection = open_database(state)
    assert connection.execute("SELECT count(*) FROM turns").fetchone() == (2,)
    connection.close()


def test_what_ended_long_ago_goes(state: Path) -> None:
    for number, run_id in enumerate(("a", "b", "c")):
        write_run(state, diamond(run_id))
        age(state, run_id, (3 - number) * DAY)
    with History(state) as history:
        assert history.prune(older_than=2.5 * DAY).removed == ("a",)
        assert history.prune(keep=5, older_than=1.5 * DAY).removed == ("b",)  # either is enough
        assert history.prune(older_than=1.5 * DAY).removed == ()


def test_what_never_ended_is_as_old_as_its_beginning(state: Path) -> None:
    Journal.create(state, "run", DIAMOND).close()
    with History(state) as history:
        assert history.prune(older_than=DAY).removed == ()
        connection = open_database(state)
        connection.execute("UPDATE runs SET created = created - ?", (2 * DAY,))
        connection.close()
        assert history.prune(older_than=DAY).removed == ("run",)


def test_nothing_goes_unless_asked(state: Path) -> None:
    with History(state) as history:
        assert history.prune(keep=0) == Pruned()
        write_run(state, diamond("run"))
        assert history.prune() == Pruned()
        assert left(state) == ["run"]


def test_the_last_run_takes_the_plan_and_the_gaps_with_it(state: Path) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute("INSERT INTO gaps SELECT number, 1, 2, 'disk full' FROM runs")
    with History(state) as history:
        assert history.prune(keep=0).removed == ("run",)
    for table in ("runs", "plans", "turns", "gaps"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


def test_the_number_of_a_run_is_never_given_again(state: Path) -> None:
    """A journal that did not hear of the pruning must not write into another run."""
    write_run(state, diamond("old"))
    with History(state) as history:
        number = history.find("old").number
        history.prune(keep=0)
        write_run(state, diamond("new"))
        assert history.find("new").number == number + 1


def test_a_run_that_somebody_has_is_left_alone(state: Path) -> None:
    folder = write_with_logs(state, "run")
    with History(state) as history:
        with RunLock(folder):
            assert history.prune(keep=0) == Pruned(held=("run",))
        assert attempt_log_path(folder, 0, 1).exists()
        assert history.events("run") == diamond("run")
        assert history.prune(keep=0) == Pruned(("run",))


def test_links_are_not_followed(state: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    folder = write_with_logs(state, "run")
    (folder / "link").symlink_to(mine)
    (folder / "logs" / "link").symlink_to(mine)
    (folder / "logs" / "file").symlink_to(mine / "precious")
    with History(state) as history:
        assert history.prune(keep=0).removed == ("run",)
    assert not folder.exists()
    assert (mine / "precious").exists()


def test_a_folder_that_is_a_link_is_left_alone_and_told(state: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    write_run(state, diamond("run"))
    folder = run_directory(state, "run")
    folder.parent.mkdir()
    folder.symlink_to(mine)
    with History(state) as history:
        [fault] = history.prune(keep=0).faults
    assert fault == f"run: {folder} is a symbolic link, and is not followed"
    assert list(mine.iterdir()) == []
    assert left(state) == ["run"]


def test_a_run_whose_folder_cannot_be_deleted_stays_to_be_tried_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("a", "b"):
        write_with_logs(state, run_id)

    def refuse(path: Path) -> None:
        if "a" in path.parts:
            raise PermissionError(1, "Operation not permitted", str(path))
        remove(path)

    remove = prune_module.shutil.rmtree
    with History(state) as history:
        with monkeypatch.context() as refusing:
            refusing.setattr(prune_module.shutil, "rmtree", refuse)
            pruned = history.prune(keep=0)
        assert pruned.removed == ("b",)
        assert "Operation not permitted" in pruned.faults[0]
        assert left(state) == ["a"]
        assert history.prune(keep=0).removed == ("a",)


def test_a_run_id_that_leads_elsewhere_stops_everything(state: Path) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute("UPDATE runs SET run_id = '../../mine'")
    connection.close()
    with History(state) as history, pytest.raises(StoreError, match="no run id"):
        history.prune(keep=0)


def test_the_disk_gets_back_what_is_empty(state: Path) -> None:
    many = [event for number in range(100) for event in diamond(f"run{number:03}")]
    for first in range(0, len(many), len(diamond(""))):
        write_run(state, many[first : first + len(diamond(""))])
    size = database_path(state).stat().st_size
    with History(state) as history:
        with RunLock(run_directory(state, "run099")):
            history.prune(keep=60)
        assert database_path(state).stat().st_size >= size  # somebody is writing: not now
        history.prune(keep=10)
        assert database_path(state).stat().st_size < size / 2
        assert len(history.runs(None)) == 10
        assert history.events("run099") == diamond("run099")


def test_a_reader_does_not_make_pruning_fail(state: Path) -> None:
    for number in range(30):
        write_run(state, diamond(f"run{number:02}"))
    reader = open_database(state)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM runs").fetchone() == (30,)
    with History(state) as history:
        assert len(history.prune(keep=1).removed) == 29
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    reader.close()

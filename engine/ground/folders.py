"""Where things are kept: the state directory, its database, and a folder for each run."""

from __future__ import annotations

from pathlib import Path

from engine.errors import StoreError


def state_directory() -> Path:
    """The user's own, by the conventions of the system (`XDG_STATE_HOME`). It need not exist."""
    import platformdirs  # here, so that an application that names a directory need not load it

    return platformdirs.user_state_path("plandeck")


def database_path(directory: Path) -> Path:
    """The one database of a state directory."""
    return directory / "plandeck.db"


def run_directory(directory: Path, run_id: str) -> Path:
    """The folder of a run: its lock and its logs. Raises `StoreError` for an id that is no plain name."""
    if not run_id or run_id.startswith(".") or "/" in run_id or "\0" in run_id:
        raise StoreError(f"{run_id!r} is no run id")
    return directory / "runs" / run_id


def socket_path(folder: Path) -> Path:
    """Where the run whose folder that is listens for consoles, while it lives."""
    return folder / "socket"


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it, each for its owner alone."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)

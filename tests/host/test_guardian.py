"""The guardian and the launcher, played in a process of their own.

They take signals from the whole process and adopt its orphans; beside the threads and children that other
tests have left, both would go astray. So `guardian_alone.py` is run by a pytest of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = Path(__file__).with_name("guardian_alone.py")


def test_guardian_and_launcher_in_a_process_of_their_own() -> None:
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ALONE)],
        cwd=ALONE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout

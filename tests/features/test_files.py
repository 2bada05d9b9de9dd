"""Files that appear whole or not at all, and locks between processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.files import locked, whole_file

COUNT = """
import sys
from pathlib import Path
from features.files import locked
lock, count = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(40):
    with locked(lock):
        count.write_text(str(int(count.read_text()) + 1))
"""
HOLD = """
import sys, time
from pathlib import Path
from features.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, *paths: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-c", code, *map(str, paths)]
    return subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with whole_file(path) as partial:
        partial.write_text("old")
    with pytest.raises(KeyError), whole_file(path) as partial:
        partial.write_text("new")
        raise KeyError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_one_process_at_a_time_has_a_lock(tmp_path: Path) -> None:
    """Though each removes the file that the others may have open."""
    lock, count = tmp_path / "lock", tmp_path / "count"
    count.write_text("0")
    processes = [start(COUNT, lock, count) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert count.read_text() == "120" and not lock.exists()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = start(HOLD, lock)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(BlockingIOError, match="another process holds the lock"), locked(lock, 0.2):
            pass
        assert 0.15 < time.monotonic() - started < 5
        assert lock.exists(), "who did not get it does not remove it"
    finally:
        process.kill()
        process.communicate()
    with locked(lock, 5):
        assert lock.exists()
    assert not lock.exists()


def test_a_lock_in_no_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file|folder|directory"), locked(tmp_path / "file" / "lock", 0.1):
        pass

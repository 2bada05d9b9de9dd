"""A service around the tiny model, in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.installed import needs

if needs("starlette").args[0]:
    collect_ignore_glob = ["test_*.py"]

TOKEN = "t" * 24
ADDRESS = "http://127.0.0.1:8765"
CHORDS = [{"start": 0.0, "end": 1.0, "label": "Am"}, {"start": 1.0, "end": 2.0, "label": "F"}]


@pytest.fixture(scope="session")
def flow_music(tiny_model: Path) -> Any:
    from flowmusic.api.model import FlowMusic

    return FlowMusic.from_pretrained(tiny_model)


@pytest.fixture
def open_client(flow_music: Any) -> Callable[..., Any]:
    """A client of a service on a folder, as a context."""
    from starlette.testclient import TestClient

    from flowmusic.studio.app import make_app
    from flowmusic.studio.auth import Access
    from flowmusic.studio.jobs import Studio

    def open_(folder: Path, listens: bool = False) -> Any:
        app = make_app(Studio(flow_music, folder, listens=listens), Access(TOKEN, 8765))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return TestClient(app, base_url=ADDRESS, headers=headers, raise_server_exceptions=False)

    return open_


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outside" / "session"


@pytest.fixture
def client(open_client: Callable[..., Any], folder: Path) -> Iterator[Any]:
    with open_client(folder) as opened:
        opened.patch("/api/session", json={"duration": 2.0})
        yield opened


def wait_for(condition: Callable[[], Any], patience_s: float = 60.0) -> Any:
    """The first true value of a condition."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def ended(client: Any, identity: str) -> dict[str, Any]:
    """A job, once it is over."""

    def over() -> dict[str, Any] | None:
        job: dict[str, Any] = next(job for job in client.get("/api/jobs").json() if job["id"] == identity)
        return None if job["state"] in ("waiting", "running") else job

    return wait_for(over)


def do(client: Any, **ask: Any) -> dict[str, Any]:
    """A job that must succeed."""
    answer = client.post("/api/jobs", json=ask)
    assert answer.status_code == 202, answer.text
    job = ended(client, answer.json()["id"])
    assert job["state"] == "done", job
    return job


def generated(client: Any, **ask: Any) -> str:
    """The take of a job that makes one."""
    job = do(client, kind="generate", **ask)
    assert len(job["takes"]) == 1
    return job["takes"][0]


def samples(path: Path) -> np.ndarray:
    """The whole numbers in a take's file, (S, C)."""
    import soundfile

    read: np.ndarray = soundfile.read(path, dtype="int16", always_2d=True)[0]
    return read

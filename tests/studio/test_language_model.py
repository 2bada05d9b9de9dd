"""The service with a language model: takes are made, changed and continued; what it cannot is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from flowmusic.api.model import FlowMusic
from flowmusic.studio.app import make_app
from flowmusic.studio.auth import Access
from flowmusic.studio.jobs import Studio
from tests.studio.conftest import ADDRESS, CHORDS, TOKEN, generated, samples


def test_takes_are_made_changed_and_continued(tiny_lm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    app = make_app(Studio(FlowMusic.from_pretrained(tiny_lm), folder, listens=False), Access(TOKEN, 8765))
    with TestClient(app, base_url=ADDRESS, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        settings: dict[str, Any] = {"temperature": 0.8, "top_k": 8}
        about = client.get("/api/about").json()
        assert about["model"]["kind"] == "language model" and "steps" in about["model"]["lacks"]
        assert not any("loop" in preset["session"]["request"] for preset in about["presets"])
        client.patch("/api/session", json={"duration": 2.0, "lanes": {"chords": CHORDS}, "request": settings})
        take = generated(client)
        changed = generated(client, of=take, part=[0.5, 1.5], seeds=[5])
        longer = generated(client, of=take, extend=1.0)
        first, part, more = (
            samples(folder / "takes" / f"{identity}.wav") for identity in (take, changed, longer)
        )
        rate = 32_000
        assert np.array_equal(part[: rate // 2], first[: rate // 2]) and len(part) == len(first)
        assert not np.array_equal(part, first) and len(more) == len(first) + rate
        answer = client.post("/api/jobs", json={"kind": "generate", "vary": take})
        assert answer.status_code == 400 and "it has no vary, which is for a flow" in answer.json()["error"]

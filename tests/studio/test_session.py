"""Sessions on disk, lanes, MIDI files, events, and a server that is killed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest

from features.chord_labels import ChordSegment
from features.notation import read_chords, read_midi
from features.symbols import DrumHit, Note
from flowmusic.studio.lanes import check_lane, hits_of_bands, items, lane_file, notes_of_pitch, within
from flowmusic.studio.midi_file import midi_file
from flowmusic.studio.session import Session
from flowmusic.studio.take_home import chart_of
from tests.studio.conftest import CHORDS, TOKEN, do, generated, wait_for

NOTES = [Note(0.0, 0.5, 60, 90), Note(0.5, 1.25, 64, 100), Note(1.25, 1.5, 64, 80)]
HITS = [DrumHit(0.0, 36, 127), DrumHit(0.5, 38, 90), DrumHit(0.5, 42, 60)]


def test_midi_is_read_back_by_others_and_by_ourselves(tmp_path: Path) -> None:
    chords = [ChordSegment(0.0, 1.0, "Am"), ChordSegment(1.0, 2.0, "N")]
    content = midi_file(NOTES, HITS, chords, bpm=90)
    score = pretty_midi.PrettyMIDI(io.BytesIO(content))
    assert np.allclose(score.get_tempo_changes()[1], 90, atol=1e-3)
    melody, drums, harmony = score.instruments
    assert [(n.pitch, n.velocity) for n in melody.notes] == [(60, 90), (64, 100), (64, 80)]
    assert np.allclose([n.end for n in melody.notes], [0.5, 1.25, 1.5], atol=1e-3)
    assert drums.is_drum and [n.pitch for n in drums.notes] == [36, 38, 42]
    assert sorted(n.pitch for n in harmony.notes) == [48, 52, 57]  # C, E, A; nothing for N
    (tmp_path / "a.mid").write_bytes(midi_file(NOTES, HITS))
    read = read_midi(tmp_path / "a.mid")
    assert [(n.midi, round(n.start_s, 3)) for n in read.melody()] == [(60, 0), (64, 0.5), (64, 1.25)]
    assert [(h.midi, round(h.time_s, 3), h.velocity) for h in read.drum_hits()] == [
        (36, 0, 127), (38, 0.5, 90), (42, 0.5, 60)
    ]  # fmt: skip


def test_a_lane_and_its_file_say_the_same(tmp_path: Path) -> None:
    lane = check_lane(
        "chords", [{"start": 1.0, "end": 2.5, "label": "F#m7b5"}, {"start": 0, "end": 1, "label": "N"}]
    )
    assert [item["start"] for item in lane] == [0.0, 1.0]
    read = read_chords(lane_file("chords", lane, tmp_path, 120))
    assert [(s.start_s, s.end_s, s.label) for s in read] == [(0, 1, "N"), (1, 2.5, "F#:hdim7")]
    assert lane_file("chords", lane, tmp_path, 120) == lane_file("chords", list(lane), tmp_path, 120)
    melody = items("melody", NOTES)
    assert check_lane("melody", melody) == melody
    assert within("melody", melody, [0.25, 1.0], 9) == [
        {"start": 0.25, "end": 0.5, "midi": 60, "velocity": 90},
        {"start": 0.5, "end": 1.0, "midi": 64, "velocity": 100},
    ]
    assert within("drums", items("drums", HITS), None, 0.4) == [{"time": 0.0, "midi": 36, "velocity": 127}]


@pytest.mark.parametrize(
    ("role", "item", "said"),
    [
        ("chords", {"start": 0, "end": 1, "label": "Hm"}, "chords, item 1: 'Hm' is not a chord"),
        ("chords", {"start": 1, "end": 1, "label": "C"}, "start < end"),
        ("chords", {"start": 0, "end": 1}, "label must be a chord"),
        ("melody", {"start": 0, "end": 1, "midi": 128}, "MIDI number 0..127"),
        ("melody", {"start": 0, "end": 1, "midi": 60.5}, "midi must be a whole number"),
        ("melody", {"start": "0", "end": 1, "midi": 60}, "start must be a number"),
        ("drums", {"time": -1, "midi": 36}, "time >= 0"),
        ("drums", {"time": 1, "midi": 36, "velocity": 0}, "velocity must be from 1 to 127"),
        ("drums", {"time": 1, "midi": 36, "x": 0}, "unknown key 'x'"),
        ("bass", {}, "unknown lane"),
    ],
)
def test_a_wrong_item_is_named(role: str, item: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_lane(role, [item])


def test_chords_do_not_overlap() -> None:
    with pytest.raises(ValueError, match="Am ends at 2 s, F begins at 1 s"):
        check_lane("chords", [dict(CHORDS[0], end=2.0), CHORDS[1]])


def test_notes_of_a_pitch_curve() -> None:
    times_s = np.arange(100) / 50
    f0_hz = np.where(times_s < 1, 440.0, 493.88)
    sure = np.where((times_s > 0.5) & (times_s < 0.6), 0.1, 0.9)
    f0_hz[80] = 1000.0  # one frame is no note
    notes = notes_of_pitch(times_s, f0_hz, sure)
    assert [note.midi for note in notes] == [69, 69, 71, 71]
    assert abs(notes[0].end_s - 0.51) < 0.03 and abs(notes[-1].end_s - 2.0) < 0.03


def test_strokes_of_bands() -> None:
    bands = np.zeros((50, 4))
    bands[10:13, 0], bands[20:23, 3], bands[30:33, [0, 2]] = 0.9, 0.5, 0.8
    hits = hits_of_bands(np.array([0.2, 0.4, 0.6]), bands, 50.0)
    assert [(round(hit.time_s, 1), hit.midi) for hit in hits] == [(0.2, 36), (0.4, 42), (0.6, 36), (0.6, 38)]


def test_charts_say_what_the_lane_says() -> None:
    lane = [
        {"start": 0.0, "end": 2.0, "label": "Am"},
        {"start": 2.0, "end": 3.0, "label": "F"},
        {"start": 3.0, "end": 4.0, "label": "G7"},
    ]
    assert chart_of(lane, 120, 4) == "bpm: 120\nmetre: 4/4\nAm | F F G7 G7\n"
    odd = [dict(lane[0], end=1.77), dict(lane[1], start=1.77)]
    assert chart_of(odd, 120, 4) == "Am@0.000 F@1.770\n"


def test_a_session_comes_back_as_it_was(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.patch({"name": "Song", "bpm": 90, "lanes": {"chords": CHORDS}, "request": {"text": "piano"}})
    session.patch({"use": {"chords": {"span": [0, 1]}}, "request": {"text": None, "steps": 4}})
    before = session.plain()
    assert before["revision"] == 2 and before["request"] == {"seed": 0, "steps": 4}
    again = Session(tmp_path).plain()
    assert again == before
    wrongs: tuple[Any, ...] = (
        {"bpm": 1},
        {"lanes": {"chords": [{}]}},
        {"use": {"chords": {"span": [2, 1]}}},
        {"x": 1},
        3,
    )
    for wrong in wrongs:
        with pytest.raises(ValueError):
            Session(tmp_path).patch(wrong)
    assert Session(tmp_path).plain() == before
    (tmp_path / "session.json").write_text("{}")
    with pytest.raises(ValueError, match=r"session\.json is not a session"):
        Session(tmp_path)


def test_an_edit_that_cannot_be_written_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("features.files.os.replace", full)
        with pytest.raises(OSError, match="No space"):
            session.patch({"name": "other"})
    assert session.plain()["name"] == "Untitled" and session.plain()["revision"] == 0


def test_a_take_that_was_not_noted_any_more_is_found(open_client: Callable[..., Any], folder: Path) -> None:
    with open_client(folder) as client:
        client.patch("/api/session", json={"duration": 2.0, "lanes": {"chords": CHORDS}})
        before = (folder / "session.json").read_bytes()
        take = generated(client, seeds=[3])
        kept = client.get("/api/session").json()["takes"][0]
    (folder / "session.json").write_bytes(before)  # killed between the take and its note
    (folder / "takes" / "partial-0-x.wav").write_bytes(b"half")
    with open_client(folder) as client:
        found = client.get("/api/session").json()
        assert [item["id"] for item in found["takes"]] == [take]
        assert found["takes"][0] == kept and found["lanes"]["chords"] == CHORDS
        assert not list((folder / "takes").glob("partial-*"))
        assert client.get(f"/api/takes/{take}/audio").status_code == 200


def test_memory_does_not_grow_with_takes(client: Any) -> None:
    import tracemalloc

    client.patch("/api/session", json={"lanes": {"chords": CHORDS}})
    for seed in range(3):
        generated(client, seeds=[seed])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for first in range(10, 42, 16):
        do(client, kind="generate", seeds=list(range(first, first + 16)))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(client.get("/api/session").json()["takes"]) == 35
    assert grown < 32 * 64_000  # a clip of 2 s in float is 256 kB


def test_two_tabs_see_one_state(client: Any) -> None:
    import httpx

    from tests.studio.server import on_a_port

    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        on_a_port(client.app) as address,
        httpx.stream("GET", f"{address}/api/events", headers=headers, timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        revision = httpx.patch(f"{address}/api/session", json={"name": "One"}, headers=headers).json()[
            "revision"
        ]
        event, last = "", ""
        for line in lines:
            event = line.removeprefix("event: ") if line.startswith("event:") else event
            last = line.removeprefix("id: ") if line.startswith("id:") else last
            if line.startswith("data:"):
                break
        assert event == "session" and json.loads(line.removeprefix("data: ")) == {"revision": revision}
        httpx.patch(f"{address}/api/session", json={"name": "Two"}, headers=headers)
        for identity, expected in ((last, "event: session"), ("gone-3", "event: reload")):
            back = headers | {"Last-Event-ID": identity}
            with httpx.stream("GET", f"{address}/api/events", headers=back, timeout=20) as again:
                assert next(item for item in again.iter_lines() if item.startswith("event")) == expected


def test_news_of_a_take_is_all_that_a_page_needs_to_play_it(client: Any) -> None:
    import httpx

    from tests.studio.server import on_a_port

    headers = {"Authorization": f"Bearer {TOKEN}"}
    told: list[tuple[str, Any]] = []
    with (
        on_a_port(client.app) as address,
        httpx.stream("GET", f"{address}/api/events", headers=headers, timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        asked = {"kind": "generate", "n": 2}
        job = httpx.post(f"{address}/api/jobs", json=asked, headers=headers).json()["id"]
        event = ""
        for line in lines:
            if line.startswith("event:"):
                event = line.removeprefix("event: ")
            elif line.startswith("data:") and event in ("take", "session"):
                told.append((event, json.loads(line.removeprefix("data: "))))
                if len(told) == 4:
                    break
    assert [name for name, _ in told] == ["take", "session"] * 2
    assert [(told[i][1]["job"], told[i][1]["selected"]) for i in (0, 2)] == [(job, True), (job, False)]


def _start(folder: Path, model: Path) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable, "-m", "flowmusic", "studio", str(folder), "--port", "0", "--no-open",
        "--checkpoint", str(model), "--token", TOKEN,
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found and line.rstrip().endswith(f"/?token={TOKEN}"), line
    return server, found[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_server_that_is_killed_loses_no_take_and_no_edit(tmp_path: Path, tiny_model: Path) -> None:
    import httpx

    folder = tmp_path / "session"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    server, address = _start(folder, tiny_model)
    try:
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            client.patch("/api/session", json={"duration": 2.0, "lanes": {"chords": CHORDS}})
            refused = subprocess.run(
                [sys.executable, "-m", "flowmusic", "studio", str(folder), "--port", "0", "--no-open"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert refused.returncode == 2 and "open in another studio" in refused.stderr
            client.post("/api/jobs", json={"kind": "generate", "seeds": list(range(16))})
            wait_for(lambda: len(client.get("/api/takes").json()) >= 3)
            client.patch("/api/session", json={"name": "Saved"})
            known = {take["id"]: take for take in client.get("/api/takes").json()}
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    server, address = _start(folder, tiny_model)
    try:
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            session = client.get("/api/session").json()
            assert session["name"] == "Saved" and session["lanes"]["chords"] == CHORDS
            assert set(known) <= {take["id"] for take in session["takes"]}
            assert client.get("/api/jobs").json() == []
            client.post("/api/jobs", json={"kind": "generate", "seeds": [99]})
            wait_for(lambda: 99 in [take["seed"] for take in client.get("/api/takes").json()])
    finally:
        started = time.monotonic()
        server.send_signal(signal.SIGINT)
        code = server.wait(timeout=60)
    assert code in (0, 130) and time.monotonic() - started < 60
    assert not (folder / ".lock").exists() or os.name == "nt"


def test_a_deleted_upload_makes_room_and_lanes_keep_its_symbols(client: Any, music_file: Path) -> None:
    answer = client.post("/api/uploads", params={"name": "a.wav"}, content=music_file.read_bytes())
    upload = answer.json()["id"]
    do(client, kind="extract", upload=upload, roles=["drums"])
    client.patch("/api/session", json={"request": {"style": upload}, "use": {"drums": {"source": upload}}})
    lane = client.get("/api/session").json()["lanes"]["drums"]
    assert client.delete(f"/api/uploads/{upload}").json()["deleted"]
    session = client.get("/api/session").json()
    assert session["lanes"]["drums"] == lane and session["use"]["drums"]["source"] is None
    assert "style" not in session["request"]
    assert not client.post(f"/api/uploads/{upload}/restore").json()["deleted"]
    assert client.get(f"/api/uploads/{upload}/audio").status_code == 200
    assert client.delete("/api/uploads/nothing").status_code == 404


def test_a_session_full_of_uploads_says_what_to_do(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowmusic.studio.session.MAX_UPLOADS", 1)
    lab = b"0 2 A:min\n"
    first = client.post("/api/uploads", params={"name": "a.lab"}, content=lab).json()["id"]
    answer = client.post("/api/uploads", params={"name": "b.lab"}, content=lab)
    assert answer.status_code == 400
    assert answer.json()["error"] == "the session holds 1 files, the most there may be: delete one"
    client.delete(f"/api/uploads/{first}")
    assert client.post("/api/uploads", params={"name": "b.lab"}, content=lab).status_code == 200
    assert client.post(f"/api/uploads/{first}/restore").status_code == 400


def test_files_are_opened_without_torch(tmp_path: Path, music_file: Path) -> None:
    """It would take a second of each file's opening."""
    (tmp_path / "a.lab").write_text("0 2 A:min\n")
    (tmp_path / "a.mid").write_bytes(midi_file(NOTES, HITS))
    code = (
        "import sys; from pathlib import Path; from flowmusic.studio.uploads import read_upload\n"
        "for name in sys.argv[2:]: read_upload(Path(name), Path(sys.argv[1]), Path(name).suffix)\n"
        "sys.exit('torch' in sys.modules)"
    )
    names = [str(path) for path in (tmp_path / "out", music_file, tmp_path / "a.lab", tmp_path / "a.mid")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", code, *names], env=environment, check=False).returncode == 0


def test_a_folder_of_something_else_is_no_session(tmp_path: Path) -> None:
    from flowmusic.studio.serve import check_folder

    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    for name in ("uploads", "takes", ".lock"):  # of a server that was killed as it started
        (tmp_path / name).mkdir()
    check_folder(tmp_path)
    (tmp_path / "song.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds other files \(song\.wav\) and no session"):
        check_folder(tmp_path)
    with pytest.raises(ValueError, match=r"song\.wav is a file; expected a folder"):
        check_folder(tmp_path / "song.wav")
    (tmp_path / "session.json").write_text("{}")
    check_folder(tmp_path)

"""The service as a page uses it, from the first file to the zip."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile

from flowmusic.api.request import Request
from tests.studio.conftest import CHORDS, do, ended, generated, samples, wait_for


def _upload(client: Any, name: str, content: bytes) -> dict[str, Any]:
    answer = client.post("/api/uploads", params={"name": name}, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_from_a_recording_to_takes_with_scores(
    open_client: Callable[..., Any], folder: Path, music_file: Path
) -> None:
    with open_client(folder, listens=True) as client:
        client.patch("/api/session", json={"duration": 2.0, "bpm": 120})
        upload = _upload(client, "my song.wav", music_file.read_bytes())
        assert upload["kind"] == "recording" and abs(upload["duration"] - 2) < 1e-6
        assert upload["gives"] == ["drums", "melody", "chords", "style"]
        do(client, kind="extract", upload=upload["id"], roles=["drums", "melody", "chords"])
        session = client.get("/api/session").json()
        lanes = session["lanes"]
        onsets = sorted({round(item["time"], 1) for item in lanes["drums"]})
        assert onsets == [0.5, 1.0, 1.5]  # a stroke at the very start has no rise
        assert {item["midi"] for item in lanes["melody"]} <= {71, 72, 73, 76, 77, 78}  # C5, then F5
        assert {72, 77} <= {item["midi"] for item in lanes["melody"]}
        assert session["use"]["drums"]["source"] == upload["id"]
        curve = client.get(f"/api/uploads/{upload['id']}/curve").json()
        assert len(curve) == 100 and any(abs(f0 - 523.25) < 10 for _, f0 in curve)

        take = generated(client, seeds=[5])
        request = json.loads((folder / "takes" / f"{take}.json").read_text("utf-8"))["request"]
        assert request["drums"].endswith(f"{upload['id']}.wav") and request["seed"] == 5
        wait_for(lambda: client.get(f"/api/takes/{take}/heard").status_code == 200)
        heard = client.get(f"/api/takes/{take}/heard").json()
        assert set(heard["scores"]) == {"drums", "melody", "chords"}
        assert all(len(stroke) == 5 for stroke in heard["drums"])
        kept = next(item for item in client.get("/api/takes").json() if item["id"] == take)
        assert kept["scores"] == heard["scores"] and kept["overall"] is not None
        assert client.get(f"/api/takes/{take}/plot").content.startswith(b"\x89PNG")
        sidecar = client.get(f"/api/takes/{take}/sidecar").json()
        assert sidecar["scores"] == heard["scores"]


def test_an_edited_lane_is_followed_instead_of_its_recording(
    client: Any, folder: Path, music_file: Path
) -> None:
    upload = _upload(client, "song.wav", music_file.read_bytes())
    do(client, kind="extract", upload=upload["id"], roles=["drums"])
    drums = client.get("/api/session").json()["lanes"]["drums"]
    changed = client.patch("/api/session", json={"lanes": {"drums": drums[:2]}}).json()
    assert changed["use"]["drums"]["source"] is None
    take = generated(client, seeds=[1])
    asked = client.get(f"/api/takes/{take}/asked").json()
    assert [item["midi"] for item in asked["drums"]] == [item["midi"] for item in drums[:2]]
    midi = pretty_midi.PrettyMIDI(io.BytesIO(client.get(f"/api/takes/{take}/midi").content))
    assert [instrument.is_drum for instrument in midi.instruments] == [True]
    starts = [note.start for note in midi.instruments[0].notes]
    assert np.allclose(starts, [item["time"] for item in drums[:2]], atol=1e-3)
    client.patch("/api/session", json={"use": {"drums": {"mute": True}}})
    take = generated(client, seeds=[1])
    assert client.get(f"/api/takes/{take}/asked").json() == {}


def test_symbols_are_uploaded_and_typed(client: Any, tmp_path: Path) -> None:
    chart = _upload(client, "song.txt", b"Am | F")
    assert chart["kind"] == "chords" and chart["gives"] == ["chords"] and chart["duration"] == 4.0
    do(client, kind="extract", upload=chart["id"], roles=["chords"])
    lane = client.get("/api/session").json()["lanes"]["chords"]
    assert [(item["start"], item["end"], item["label"]) for item in lane] == [
        (0, 2, "A:min"),
        (2, 4, "F:maj"),
    ]

    score = pretty_midi.PrettyMIDI()
    score.instruments = [pretty_midi.Instrument(0), pretty_midi.Instrument(0, is_drum=True)]
    score.instruments[0].notes = [pretty_midi.Note(90, 64, 0.0, 0.5), pretty_midi.Note(90, 67, 0.5, 1.0)]
    score.instruments[1].notes = [pretty_midi.Note(80, 36, 0.25, 0.3)]
    score.write(str(tmp_path / "tune.mid"))
    midi = _upload(client, "tune.mid", (tmp_path / "tune.mid").read_bytes())
    assert midi["kind"] == "midi" and midi["gives"] == ["melody", "drums"]
    do(client, kind="extract", upload=midi["id"], roles=["melody", "drums"])
    lanes = client.get("/api/session").json()["lanes"]
    assert [item["midi"] for item in lanes["melody"]] == [64, 67]
    assert lanes["drums"] == [{"time": 0.25, "midi": 36, "velocity": 80}]

    rows = "".join(f"{i / 100},440\n" for i in range(50)) + "".join(f"{i / 100},0\n" for i in range(50, 60))
    pitch = _upload(client, "hum.csv", rows.encode())
    do(client, kind="extract", upload=pitch["id"], roles=["melody"])
    (note,) = client.get("/api/session").json()["lanes"]["melody"]
    assert note["midi"] == 69 and abs(note["end"] - 0.5) < 0.02
    assert client.get(f"/api/uploads/{pitch['id']}/curve").json()[3] == [0.03, 440.0]

    client.patch("/api/session", json={"bpm": 60, "beats_per_bar": 3, "duration": 6.0})
    typed = client.post("/api/lanes/read", json={"role": "chords", "text": "Am | F"}).json()
    assert [(item["start"], item["end"]) for item in typed] == [(0, 3), (3, 6)]
    wrong = client.post("/api/lanes/read", json={"role": "chords", "text": "Am | Qz"})
    assert wrong.status_code == 400 and "bar 2 (Qz)" in wrong.json()["error"]


def test_a_part_made_anew_leaves_every_other_sample(client: Any, folder: Path) -> None:
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}, "request": {"loudness": -14}})
    first = generated(client, seeds=[1])
    client.patch("/api/session", json={"lanes": {"chords": [dict(CHORDS[0], end=2.0, label="Dm7")]}})
    old = samples(folder / "takes" / f"{first}.wav")
    rate = soundfile.info(folder / "takes" / f"{first}.wav").samplerate
    for part in ([0.5, 1.5], [0.0, 1.0], [1.2, 2.0], [0.03, 0.7], [0.7, 1.99]):
        new = samples(folder / "takes" / f"{generated(client, seeds=[7], of=first, part=part)}.wav")
        start, end = round(part[0] * rate), round(part[1] * rate)
        assert old.shape == new.shape
        assert np.array_equal(old[:start], new[:start]) and np.array_equal(old[end:], new[end:]), part
        assert (old[start:end] != new[start:end]).mean() > 0.3, part
    for part in ([1.0, 0.5], [0.5, 9.0], [-1.0, 1.0], [0.5, 1.0]):
        answer = client.post("/api/jobs", json={"kind": "generate", "of": first, "part": part})
        assert answer.status_code == 400 and "part must be two rising times" in answer.json()["error"]


def test_a_take_is_continued_varied_and_looped(client: Any, folder: Path) -> None:
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}})
    first = generated(client, seeds=[1])
    old = samples(folder / "takes" / f"{first}.wav")
    longer = generated(client, of=first, extend=1.0, before=0.5)
    new = samples(folder / "takes" / f"{longer}.wav")
    take = next(item for item in client.get("/api/takes").json() if item["id"] == longer)
    assert take["duration"] == 3.5
    ((start, end),) = take["kept"]
    rate = old.shape[0] / 2
    first_sample, last = round(start * rate), round(end * rate)
    shift = round(0.5 * rate)
    assert np.array_equal(new[first_sample:last], old[first_sample - shift : last - shift])
    varied = generated(client, vary=first, strength=0.4, seeds=[9])
    request = next(item["request"] for item in client.get("/api/takes").json() if item["id"] == varied)
    assert request["strength"] == 0.4 and request["vary"].endswith(f"{first}.wav")
    assert request["chords"].endswith(".lab")  # what the varied take asked for
    looped = generated(client, loop=True)
    assert next(item["request"] for item in client.get("/api/takes").json() if item["id"] == looped)["loop"]


def test_best_of_several_and_several_at_once(client: Any, folder: Path) -> None:
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}, "request": {"seed": 3}})
    best = generated(client, n=3, best=True)
    sidecar = client.get(f"/api/takes/{best}/sidecar").json()
    assert [item["seed"] for item in sidecar["candidates"]] == [3, 4, 5]
    assert sidecar["overall"] == max(item["overall"] for item in sidecar["candidates"])
    assert client.get(f"/api/takes/{best}/heard").json()["scores"] == sidecar["scores"]
    job = do(client, kind="generate", seeds=[8, 9])
    takes = {item["id"]: item for item in client.get("/api/takes").json()}
    assert [takes[identity]["seed"] for identity in job["takes"]] == [8, 9]
    assert client.get("/api/session").json()["selected"] == job["takes"][0]  # it plays while the next is made


def test_another_seed_prepares_nothing_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowmusic.api.model import FlowMusic

    calls: list[object] = []
    original = FlowMusic.prepare

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(FlowMusic, "prepare", counted)
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}})
    generated(client, seeds=[1])
    generated(client, seeds=[2])
    assert len(calls) == 1
    client.patch("/api/session", json={"lanes": {"chords": CHORDS[:1]}})
    generated(client, seeds=[2])
    assert len(calls) == 2


def test_a_clip_is_that_of_the_python_api(client: Any, folder: Path, flow_music: Any) -> None:
    from flowmusic.api.request import Request

    client.patch("/api/session", json={"lanes": {"chords": CHORDS}, "use": {"chords": {"strength": 2.5}}})
    take = generated(client, seeds=[4])
    values = json.loads((folder / "takes" / f"{take}.json").read_text("utf-8"))["request"]
    assert values["guidance"] == "chords=2.5"
    again = flow_music.generate(Request.read(values))
    old = samples(folder / "takes" / f"{take}.wav").T
    assert np.abs(np.round(again.audio * 32768).clip(-32768, 32767) - old).max() <= 1


def test_cancel_is_at_once_and_the_next_job_runs(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowmusic.api.model import FlowMusic

    original = FlowMusic.render_each

    def slow(self: Any, prepared: Any, seeds: Any, progress: Any) -> Any:
        if 13 in seeds:
            for step in range(3000):
                progress("generating", step, 3000)
                time.sleep(0.01)
        yield from original(self, prepared, seeds, progress)

    monkeypatch.setattr(FlowMusic, "render_each", slow)
    running = client.post("/api/jobs", json={"kind": "generate", "seeds": [13]}).json()["id"]
    waiting = client.post("/api/jobs", json={"kind": "generate", "seeds": [14]}).json()["id"]
    next_one = client.post("/api/jobs", json={"kind": "generate", "seeds": [15]}).json()["id"]
    wait_for(lambda: client.get("/api/jobs").json()[0]["share"] > 0)
    states = [job["state"] for job in client.get("/api/jobs").json()]
    assert states == ["running", "waiting", "waiting"]
    assert client.delete(f"/api/jobs/{waiting}").json()["state"] == "cancelled"
    started = time.monotonic()
    assert client.delete(f"/api/jobs/{running}").json()["state"] == "cancelled"
    assert ended(client, next_one)["state"] == "done"
    assert time.monotonic() - started < 10
    assert [take["seed"] for take in client.get("/api/takes").json()] == [15]
    for _ in range(9):
        answer = client.post("/api/jobs", json={"kind": "generate", "seeds": [13]})
    for _ in range(2):
        answer = client.post("/api/jobs", json={"kind": "generate", "seeds": [13]})
    assert answer.status_code == 429 and "8 jobs wait already" in answer.json()["error"]
    for job in client.get("/api/jobs").json():
        client.delete(f"/api/jobs/{job['id']}")


def test_takes_are_named_starred_deleted_and_restored_and_taken_home(client: Any, folder: Path) -> None:
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}, "bpm": 120, "beats_per_bar": 2})
    take = generated(client, seeds=[1])
    assert client.patch(f"/api/takes/{take}", json={"name": "Bridge <b>", "star": True}).json()["star"]
    assert client.delete(f"/api/takes/{take}").json()["deleted"]
    assert client.get("/api/session").json()["selected"] is None
    assert not client.post(f"/api/takes/{take}/restore").json()["deleted"]
    wav = client.get(f"/api/takes/{take}/audio")
    assert soundfile.info(io.BytesIO(wav.content)).duration == 2.0
    ranged = client.get(f"/api/takes/{take}/audio", headers={"Range": "bytes=0-99"})
    assert ranged.status_code == 206 and ranged.content == wav.content[:100]
    for kind, name in (("flac", "FLAC"), ("ogg", "OGG")):
        answer = client.get(f"/api/takes/{take}/audio", params={"format": kind, "download": "1"})
        assert soundfile.info(io.BytesIO(answer.content)).format == name
        assert "Bridge%20_b_" in answer.headers["content-disposition"]
    found = client.get(f"/api/takes/{take}/peaks", params={"n": 50}).json()
    whole = samples(folder / "takes" / f"{take}.wav") / 32768
    assert len(found) == 50
    for n in (1, 50, 777):
        found = client.get(f"/api/takes/{take}/peaks", params={"n": n}).json()
        edges = np.linspace(0, len(whole), n + 1).astype(int)
        parts = [whole[first:end] for first, end in pairwise(edges)]
        assert np.allclose(found, [(part.min(), part.max()) for part in parts], atol=1e-4)
    assert client.get(f"/api/takes/{take}/chart").text == "bpm: 120\nmetre: 2/4\nAm | F\n"
    command = client.get(f"/api/takes/{take}/command").json()
    assert command["command"].startswith("flowmusic generate --chords ")
    assert "--seed 1" in command["command"] and "seed=1" in command["python"]
    archive = zipfile.ZipFile(io.BytesIO(client.get("/api/session.zip").content))
    assert archive.testzip() is None
    assert {"session.json", f"takes/{take}.wav", f"takes/{take}.json"} <= set(archive.namelist())
    assert json.loads(archive.read("session.json"))["takes"][0]["name"] == "Bridge <b>"


def test_strength_becomes_guidance_and_span_a_mask(client: Any, flow_music: Any) -> None:
    melody = [{"start": 0.0, "end": 0.8, "midi": 60}, {"start": 1.2, "end": 1.8, "midi": 64}]
    client.patch("/api/session", json={"lanes": {"chords": CHORDS, "melody": melody}})
    client.patch("/api/session", json={"use": {"melody": {"span": [1.0, 2.0]}, "chords": {"strength": 3}}})
    take = generated(client, seeds=[1])
    item = next(item for item in client.get("/api/takes").json() if item["id"] == take)
    assert item["request"]["guidance"] == "chords=3,melody=1.5"
    assert item["request"]["spans"] == {"melody": "1-2"}
    assert [note["midi"] for note in client.get(f"/api/takes/{take}/asked").json()["melody"]] == [64]
    mask = flow_music.prepare(Request.read(item["request"])).controls.mask("melody")
    assert mask[50:85].all() and not mask[:50].any()
    client.patch("/api/session", json={"use": {"melody": {"mute": True}}})
    muted = generated(client, seeds=[1])
    request = next(item for item in client.get("/api/takes").json() if item["id"] == muted)["request"]
    assert flow_music.prepare(Request.read(request)).controls.given == ("chords",)
    client.patch("/api/session", json={"use": {"melody": {"mute": False, "span": [5.0, 6.0]}}})
    assert "melody" not in client.get("/api/takes").json()[-1]["request"]  # its span lies after the end
    client.patch("/api/session", json={"request": {"guidance": "double:3,2"}})
    answer = client.post("/api/jobs", json={"kind": "generate"})
    assert answer.status_code == 400 and "guidance of one number" in answer.json()["error"]


def test_the_messages_are_those_of_the_command_line(client: Any) -> None:
    from flowmusic.api.request import Request, RequestError

    for field, value in (
        ("steps", 0),
        ("guidance", "drums=x"),
        ("solver", "none"),
        ("loudness", 3),
        ("text", ""),
    ):
        with pytest.raises(RequestError) as said:
            Request.read({field: value})
        answer = client.patch("/api/session", json={"request": {field: value}})
        assert answer.status_code == 400 and answer.json()["error"] == str(said.value)
    for field, wrong in (("duration", 0.1), ("bpm", 1000), ("beats_per_bar", "x")):
        with pytest.raises(RequestError) as said:
            Request.read({field: wrong})
        assert client.patch("/api/session", json={field: wrong}).json()["error"] == str(said.value)
    answer = client.post("/api/jobs", json={"kind": "generate", "seeds": [-1]})
    assert answer.json()["error"].startswith("seed must be a whole number from 0 to")


def test_about_and_openapi_describe_what_is_there(client: Any) -> None:
    about = client.get("/api/about").json()
    assert about["model"]["controls"] == ["drums", "melody", "chords"]
    assert about["schema"]["properties"]["steps"]["description"]
    for preset in about["presets"]:
        assert client.patch("/api/session", json=preset["session"]).status_code == 200, preset["name"]
    described = client.get("/api/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    text = json.dumps(described)
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in described["components"]["schemas"], reference
    known = [(path, method) for path, methods in described["paths"].items() for method in methods]
    assert len(known) == len({f"{path} {method}" for path, method in known}) > 20
    for path, method in known:  # every one of them answers
        if method == "get" and path not in ("/api/events", "/api/session.zip"):
            assert client.get(path.replace("{id}", "0" * 12)).status_code in (200, 404), path


def test_the_page_is_served_with_its_policy(client: Any) -> None:
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "script-src 'self';" in policy
    assert "unsafe-inline" not in policy
    assert client.get("/main.js").status_code == 200

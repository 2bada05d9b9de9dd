"""Requests and files that mean harm: the service lives, and nothing is written outside of its folder."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowmusic.studio.auth import Access
from flowmusic.studio.uploads import UploadError, open_upload
from tests.studio.conftest import ADDRESS, CHORDS, TOKEN, generated

READS = ("/api/session", "/api/about", "/api/jobs", "/api/events", "/api/session.zip", "/", "/main.js")


@pytest.mark.parametrize("path", READS)
def test_nothing_is_answered_without_the_token(client: Any, path: str) -> None:
    for headers in (
        {"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"}, {"Authorization": "", "Cookie": "flowmusic-studio-8765=wrong"},
        {"Authorization": "", "Cookie": f"flowmusic-studio-1={TOKEN}"},
    ):  # fmt: skip
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.get(path, headers=raw)
        assert answer.status_code == 401 and "token" in answer.json()["error"], headers
        assert "set-cookie" not in answer.headers


def test_the_token_in_the_address_becomes_a_cookie(client: Any) -> None:
    bare = {"Authorization": ""}
    assert client.get("/?token=wrong", headers=bare).status_code == 401
    answer = client.get(f"/?token={TOKEN}", headers=bare, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.get("/api/session", headers=bare).status_code == 200  # by the cookie


@pytest.mark.parametrize(
    "host",
    ["evil.example:8765", "127.0.0.1.evil.example:8765", "127.0.0.1:80", "127.0.0.1", "", "192.168.0.7:8765"],
)
def test_a_foreign_host_is_refused(client: Any, host: str) -> None:
    answer = client.get("/api/session", headers={"Host": host})
    assert answer.status_code == 403 and "Host" in answer.json()["error"]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1:8765", "http://127.0.0.1:8766", "null", "", "file://"],
)
def test_a_foreign_origin_is_refused(client: Any, origin: str) -> None:
    before = client.get("/api/session").json()
    for method, path in (
        ("PATCH", "/api/session"),
        ("POST", "/api/jobs"),
        ("POST", "/api/uploads?name=a.wav"),
    ):
        answer = client.request(method, path, headers={"Origin": origin}, content=b'{"name": "evil"}')
        assert answer.status_code == 403, (method, path)
    assert client.get("/api/session").json() == before
    assert client.patch("/api/session", headers={"Sec-Fetch-Site": "cross-site"}, json={}).status_code == 403
    for own in (ADDRESS, "http://localhost:8765"):
        assert client.patch("/api/session", headers={"Origin": own}, json={}).status_code == 200


def test_other_addresses_need_a_token_and_open_to_addresses_only() -> None:
    from flowmusic.studio.serve import access_of, check_host

    for host in ("0.0.0.0", "192.168.1.5", "studio.example", "::"):
        with pytest.raises(ValueError, match="opens the studio to every machine"):
            check_host(host, None)
        with pytest.raises(ValueError, match="16 or more letters"):
            check_host(host, "short")
    wide = access_of("0.0.0.0", 9000, "a" * 16)
    assert wide.is_host("10.0.0.3:9000") and not wide.is_host("evil.example:9000")
    assert not access_of("127.0.0.1", 9000, None).is_host("10.0.0.3:9000")
    assert len(access_of("localhost", 9000, None).token) >= 32
    assert Access("t", 9000).is_host("[::1]:9000") and not Access("t", 80).is_host("::1")


TRAVERSALS = (
    "../session.json", "..%2fsession.json", "%2e%2e/%2e%2e/etc/passwd", "....//etc/passwd", "/etc/passwd",
    "%2fetc%2fpasswd", "..\\..\\secret", "C:\\secret", "a%00b", "x" * 5000, "000000000000/../../session.json",
)  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_of_a_client_is_opened(client: Any, folder: Path, path: str) -> None:
    (folder.parent / "secret").write_text("the secret")
    for before in ("/", "/api/takes/", "/api/uploads/"):
        for after in ("", "/audio", "/sidecar", "/heard", "/curve"):
            answer = client.get(f"{before}{path}{after}")
            assert answer.status_code in (400, 404, 405), answer.url
            assert b"the secret" not in answer.content and b"root:" not in answer.content
    for ask in (
        {"kind": "extract", "upload": path, "roles": ["drums"]},
        {"kind": "generate", "vary": path}, {"kind": "generate", "of": path, "extend": 1.0},
    ):  # fmt: skip
        assert client.post("/api/jobs", json=ask).status_code == 404
    for changes in ({"request": {"style": path}}, {"use": {"drums": {"source": path}}}, {"selected": path}):
        assert client.patch("/api/session", json=changes).status_code in (400, 404)
    for field in ("context", "vary", "drums", "controls", "inversions"):
        assert client.patch("/api/session", json={"request": {field: path}}).status_code == 400


def test_names_of_uploads_are_names_only(client: Any, folder: Path, music_file: Path) -> None:
    names = ("../../../evil.wav", "/tmp/evil.wav", "..\\evil.wav", "<img src=x onerror=alert(1)>.wav")
    for name in names:
        answer = client.post("/api/uploads", params={"name": name}, content=music_file.read_bytes())
        assert answer.status_code == 200 and "/" not in answer.json()["name"]
        assert (folder / "uploads" / f"{answer.json()['id']}.wav").is_file()
    for name in ("", "evil.exe", "evil", "a\0.wav", "a.wav\n", "x" * 300 + ".wav", "\ud800.wav"):
        query = b"name=" + b"".join(b"%%%02x" % byte for byte in name.encode("utf-8", "surrogatepass"))
        answer = client.post(f"/api/uploads?{query.decode()}", content=b"abc")
        assert answer.status_code == 400, name
    assert [path.name for path in folder.parent.iterdir()] == ["session"]


def test_files_that_are_something_else_are_named_in_a_sentence(client: Any, folder: Path) -> None:
    for name, content in (
        ("a.wav", b"MThd\0\0\0\6"), ("a.mid", b"RIFF"), ("a.lab", b"\xff\xfe\0"), ("a.csv", b"x,y\nz,w\n"),
        ("a.txt", b"Am | Qz"), ("a.flac", b"fLaC" + bytes(100)), ("a.mp3", b"<!DOCTYPE html><html>"),
    ):  # fmt: skip
        answer = client.post("/api/uploads", params={"name": name}, content=content)
        assert answer.status_code == 400, name
        error = answer.json()["error"]
        assert name in error and str(folder) not in error and "\n" not in error, error
    empty = client.post("/api/uploads", params={"name": "a.wav"}, content=b"")
    assert empty.status_code == 400 and empty.json()["error"] == "a.wav is empty (0 bytes)"
    assert list((folder / "uploads").iterdir()) == []


def test_a_decoder_that_crashes_ends_its_process_alone(
    tmp_path: Path, music_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module named as numpy is found first there, and ends the process as a decoder does that crashes."""
    crash = tmp_path / "crash"
    (crash / "soundfile").mkdir(parents=True)
    (crash / "soundfile" / "__init__.py").write_text(
        f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    )
    monkeypatch.syspath_prepend(str(crash))
    sent = tmp_path / "sent"
    sent.write_bytes(music_file.read_bytes())
    with pytest.raises(UploadError, match=r"song\.wav cannot be read: the process that opened it ended"):
        open_upload(sent, tmp_path, "0" * 12, "song.wav")
    assert not list(tmp_path.glob("0*"))


def test_a_reader_without_an_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowmusic.studio.uploads.MAX_OPEN_S", 0.01)
    sent = tmp_path / "sent"
    sent.write_bytes(b"Am")
    with pytest.raises(UploadError, match="took longer than"):
        open_upload(sent, tmp_path, "0" * 12, "song.txt")


def test_a_huge_upload_is_not_held_in_memory(
    client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(2000):  # 2 GB
            sent += 1_000_000
            yield bytes(1_000_000)

    from tests.studio.server import on_a_port

    with on_a_port(client.app) as address:
        import httpx

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            answer = httpx.post(
                f"{address}/api/uploads?name=a.wav", content=pieces(), headers=headers, timeout=60
            )
            assert answer.status_code == 413 and "larger than 200 MB" in answer.json()["error"]
        except httpx.TransportError:  # the server has hung up on the rest
            pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert sent < 700_000_000 and grown < 150_000  # kB
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as raw:
            raw.sendall(
                f"POST /api/uploads?name=a.wav HTTP/1.1\r\nHost: {host}:{port}\r\n"
                f"Authorization: Bearer {TOKEN}\r\nContent-Length: 3000000000\r\n\r\n".encode()
            )
            assert raw.recv(100).startswith(b"HTTP/1.1 413")  # before a byte of it was sent
        assert httpx.get(f"{address}/api/session", headers=headers).status_code == 200
    assert list((folder / "uploads").iterdir()) == []


def test_a_body_is_bounded(client: Any) -> None:
    assert client.patch("/api/session", content=b" " * 9_000_000).status_code == 413
    for content in (b"", b"{", b"[" * 100_000, b'{"name": "a", "name": "b"}', b"\xff\xfe", b"1" * 10_000):
        answer = client.patch("/api/session", content=content)
        assert answer.status_code == 400 and answer.json()["error"], content[:20]


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, -1e308, 10**30, float("nan"), float("inf"), "", "x", "\0", "\ud800",
    "../..", "<script>", [], [[]], [None], {}, {"a": 1}, [1, 2], [2, 1], ["x", 3], "chords=3@", "9" * 5000,
    "é" * 300,
)  # fmt: skip


def _mutated(value: Any, random_: random.Random) -> Any:
    """The value with one place of it replaced, taken out or named anew."""
    if isinstance(value, dict) and value and random_.random() < 0.85:
        key = random_.choice(list(value))
        changed = dict(value)
        match random_.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[random_.choice(("x", "__proto__", "id", ""))] = random_.choice(VALUES)
            case _:
                changed[key] = _mutated(value[key], random_)
        return changed
    if isinstance(value, list) and value and random_.random() < 0.8:
        index = random_.randrange(len(value))
        return [*value[:index], _mutated(value[index], random_), *value[index + 1 :]]
    return random_.choice(VALUES)


def test_a_thousand_mutated_requests(client: Any, folder: Path) -> None:
    client.patch("/api/session", json={"lanes": {"chords": CHORDS}})
    take = generated(client, seeds=[1])
    good = (
        ("PATCH", "/api/session", {"name": "a", "duration": 2.0, "bpm": 90.0, "beats_per_bar": 3.0,
         "request": {"text": "piano", "guidance": "2", "steps": 2, "seed": 1, "loudness": -14.0},
         "lanes": {"chords": CHORDS, "melody": [{"start": 0.0, "end": 1.0, "midi": 60, "velocity": 90}],
                   "drums": [{"time": 0.5, "midi": 36, "velocity": 90}]},
         "use": {"chords": {"mute": False, "span": [0.0, 1.0], "strength": 2.0}}, "selected": take}),
        ("PATCH", f"/api/takes/{take}", {"name": "x", "star": True}),
        ("POST", "/api/jobs", {"kind": "generate", "seeds": [1], "of": take, "part": [0.5, 1.5]}),
        ("POST", "/api/jobs", {"kind": "extract", "upload": "0" * 12, "roles": ["drums"]}),
        ("POST", "/api/lanes/read", {"role": "chords", "text": "Am | F"}),
    )  # fmt: skip
    random_ = random.Random(0)
    answers = dict.fromkeys((200, 202, 400, 404, 429), 0)
    for _ in range(1000):
        method, path, body = random_.choice(good)
        for _ in range(random_.randrange(1, 3)):
            body = _mutated(body, random_)
        answer = client.request(method, path, content=json.dumps(body).encode())
        assert answer.status_code in answers, (method, path, body, answer.text)
        answers[answer.status_code] += 1
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error and "\n" not in error and len(error) < 20_000
        for job in client.get("/api/jobs").json():
            client.delete(f"/api/jobs/{job['id']}")
    assert answers[400] > 300 and answers[200] > 20
    assert client.patch("/api/session", json={"duration": 2.0}).status_code == 200
    json.loads((folder / "session.json").read_text("utf-8"))
    assert [path.name for path in folder.parent.iterdir()] == ["session"]


def test_mutated_uploads(tmp_path: Path, music_file: Path) -> None:
    """Read as the process for uploads reads them: each is understood, or refused in a sentence."""
    from flowmusic.errors import is_bad_input
    from flowmusic.studio.midi_file import midi_file
    from flowmusic.studio.uploads import read_upload
    from tests.studio.test_session import NOTES

    wav = music_file.read_bytes()
    good = {
        ".wav": wav[:20_000], ".mid": midi_file(NOTES), ".lab": b"0 1 A\n1 2 F:maj\n", ".txt": b"Am | F C",
        ".csv": b"time,f0\n0.0,440\n0.1,441\n0.2,0\n",
    }  # fmt: skip
    random_ = random.Random(1)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1000):
        suffix, content = random_.choice(list(good.items()))
        broken = bytearray(content)
        for _ in range(random_.randrange(1, 3)):
            broken[random_.randrange(len(broken))] = random_.randrange(256)
        path = tmp_path / f"in{suffix}"
        path.write_bytes(
            broken[: random_.randrange(1, len(broken) + 1)] if random_.random() < 0.3 else broken
        )
        try:
            read_upload(path, tmp_path / "out", suffix)
            outcomes["read"] += 1
        except Exception as error:
            assert is_bad_input(error), (suffix, bytes(broken[:300]), error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_fifty_connections_at_once(client: Any) -> None:
    import httpx

    from tests.studio.server import on_a_port

    headers = {"Authorization": f"Bearer {TOKEN}"}
    with on_a_port(client.app) as address:

        def tab(number: int) -> str:
            with httpx.stream("GET", f"{address}/api/events", headers=headers, timeout=30) as stream:
                lines = stream.iter_lines()
                next(lines)
                httpx.patch(
                    f"{address}/api/session", json={"name": f"tab {number}"}, headers=headers, timeout=30
                )
                return next(line for line in lines if line.startswith("data:"))

        with ThreadPoolExecutor(50) as pool:
            assert all('"revision"' in line for line in pool.map(tab, range(50)))
        names = httpx.get(f"{address}/api/session", headers=headers).json()
    assert names["revision"] >= 50 and names["name"].startswith("tab ")


def _tree(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


def test_all_that_is_written_lies_in_the_folder(
    open_client: Callable[..., Any], tmp_path: Path, music_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that is opened to write, in a walk with an extraction and a take, by the audit of Python."""
    import sys

    folder = tmp_path / "session"
    written: set[str] = set()
    active = True

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], (str, bytes)):
            mode, flags = arguments[1], arguments[2]
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags & (os.O_WRONLY | os.O_RDWR)):
                written.add(os.fsdecode(arguments[0]))

    sys.addaudithook(audit)
    with open_client(folder) as client:
        client.patch("/api/session", json={"duration": 2.0})
        sent = client.post("/api/uploads?name=a.wav", content=music_file.read_bytes()).json()
        from tests.studio.conftest import do

        do(client, kind="extract", upload=sent["id"], roles=["chords"])
        take = generated(client, seeds=[1])
        client.get(f"/api/takes/{take}/audio?format=flac")
        client.get("/api/session.zip")
    active = False
    own = [path for path in written if path.startswith(str(folder))]
    others = [
        path for path in written if not path.startswith((str(folder), "/dev/", "/proc/"))
        and not path.endswith((".pyc", ".nbi", ".nbc")) and "__pycache__" not in path
    ]  # fmt: skip
    assert own and not others, others

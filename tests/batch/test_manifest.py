"""Manifests: every bad row named by its line, and long ones held by their places alone."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowmusic.api.request import REQUEST_FIELDS, Request
from flowmusic.batch.manifest import Manifest, ManifestError
from flowmusic.batch.sources import grid_rows, parse_seeds, reference_rows, write_manifest
from flowmusic.errors import is_bad_input
from tests.refusals import LFS_POINTER, WEB_PAGE

BAD_ROWS = (
    b'{"text": "a"',
    b'["text", "a"]',
    b'{"tempo": 90}',
    b'{"text": 5}',
    b'{"duration": -1}',
    b'{"seed": 1.5}',
    b'{"solver": "leapfrog"}',
    b'{"guidance": "loud"}',
    b'{"chords": "Am | Q7"}',
    b'{"keep": "0-4"}',
)
MESSAGES = (
    "it is not JSON",
    "expected an object",
    "unknown key 'tempo'",
    "text must be",
    "duration must be",
    "seed must be",
    "unknown solver",
    "guidance 'loud'",
    "bar 2",
    "need context",
)


def good(seed: int) -> bytes:
    return json.dumps({"text": "a trio", "chords": "Am | F", "seed": seed}).encode()


def test_thirty_bad_rows_of_ten_kinds_among_three_hundred(tmp_path: Path) -> None:
    lines = [good(seed) for seed in range(300)]
    places = {7 + 9 * index: index % 10 for index in range(30)}
    for place, kind in places.items():
        lines[place] = BAD_ROWS[kind]
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(
        ManifestError, match=r"manifest\.jsonl has 30 bad rows; the first is line 8"
    ) as caught:
        Manifest(path)
    found = {problem.line - 1: problem.message for problem in caught.value.problems}
    assert found.keys() == places.keys()
    for place, kind in places.items():
        assert MESSAGES[kind] in found[place]
    for place in places:
        lines[place] = b""
    path.write_bytes(b"\r\n".join(lines))
    manifest = Manifest(path)
    assert len(manifest) == 270
    assert [row.line for row in manifest] == [n + 1 for n in range(300) if n not in places]
    assert manifest.row(7).request.seed == 8, "line 8 is blank now"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"seed": 1}\n{"seed": 1}', "same clip as line 1"),
        (b'{"seed": 1, "seed": 2}', "stands there twice"),
        (b'{"name": "../x"}', "name must be"),
        (b'{"text": "\xff"}', "line 1: it is not UTF-8 text: save the manifest as UTF-8"),
        (b'{"seed": 1}\n{"text": "caf\xe9"}', "line 2: it is not UTF-8 text"),
        (b'{"text": "a", "seed": 1,}', r"line 1: it is not JSON: .* \(no comma may stand before a closing"),
        (b'{"seed": 1},\n{"seed": 2}', r"1 bad row; .* line 1: it is not JSON: .* \(no comma may stand"),
        (b'{"seed": 1}\n# {"seed": 2}', r"line 2: it is not JSON: .* \(JSON has no comments\)"),
        (
            b'[{"seed": 1}, {"seed": 2}]',
            "line 1: it is not JSON lines: a JSON array begins here; expected one",
        ),
        (b'\n[\n  {"seed": 1}\n]', "line 2: it is not JSON lines: a JSON array begins here"),
        (b'{\n  "seed": 1\n}', "line 1: it is not JSON lines: an object over several lines begins here"),
        (b"text,seed\na trio,1", r"1 bad row; .* line 1: it is not JSON lines: a table \(CSV\) begins here"),
        (b'\xef\xbb\xbf"text";"seed"\r\n"a";1', r"line 1: it is not JSON lines: a table \(CSV\)"),
        (b'{"seed": 1}\n{"text": "\\ud800"}', r"line 2: text must be a text in UTF-8 .* got .ud800"),
        (b'{"text": "a\\u0000"}', r"line 1: text must be a text in UTF-8 .* got .x00"),
        (b'{"text": "a\\u001b[1m"}', r"line 1: text must be .* without control characters, got .x1b"),
        (b'{"drums": "a\\u0000.wav"}', "line 1: drums must be a name that a file can have"),
        (b'{"drums": "\\ud800.wav"}', "line 1: drums must be a name that a file can have"),
        (b'{"references": {"\\ud800": "a.wav"}}', "line 1: references must have names of controls for keys"),
        (
            b'{"seed": ' + b"9" * 5000 + b"}",
            "line 1: it is not JSON that can be read: a number has too many digits",
        ),
        (b'{"seed": 1}\n{"text": "' + b"a" * (1 << 20) + b'"}', "line 2 is longer than 1048576 bytes"),
        (LFS_POINTER, "is a Git LFS pointer, not the file itself: run `git lfs pull`; expected a manifest"),
        (WEB_PAGE, r"is a web page \(HTML\)"),
        (b'{"duration": NaN}', "duration must be"),
        (b'{"drums": "~nosuchuser/x.wav"}', "line 1: drums must be the path of a file, got '~nosuchuser"),
        (b'{"guidance": "drums=1e308,chords=1e308"}', "finite numbers up to 1000"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b"\n \n", "holds no rows"),
    ],
)
def test_other_bad_manifests(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        Manifest(tmp_path / "manifest.jsonl")
    with pytest.raises(ValueError, match="cannot be read as a manifest"):
        Manifest(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_manifest_in_any_encoding_is_the_same(encoding: str, tmp_path: Path) -> None:
    rows = [{"text": "Ballade für Flügel 🎵\u2028", "seed": seed} for seed in range(3)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path = tmp_path / "manifest.jsonl"
    path.write_bytes("\r\n\r\n".join([*lines, ""]).encode(encoding))
    manifest = pickle.loads(pickle.dumps(Manifest(path)))  # as worker processes get it
    assert [(row.line, row.request.seed) for row in manifest] == [(1, 0), (3, 1), (5, 2)]
    assert {row.request.text for row in manifest} == {rows[0]["text"]}
    plain = write_manifest(tmp_path / "plain.jsonl", rows)
    assert [row.name for row in manifest] == [row.name for row in Manifest(plain)]


def test_names_of_files_come_back_as_bytes(tmp_path: Path) -> None:
    """They need not be UTF-8; the manifest is."""
    names = [
        b"caf\xe9.wav",
        "für 🎵.wav".encode(),
        b"a\nb.wav",
        b'#it\'s "x".wav',
        b"-x.wav",
        b"x" * 251 + b".wav",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    rows = reference_rows(tmp_path, ["drums"])
    path = write_manifest(tmp_path / "out" / "manifest.jsonl", rows)
    path.read_bytes().decode("utf-8")
    found = {os.fsencode(Path(str(row.request.drums)).name) for row in Manifest(path)}
    assert found == set(names)


def test_a_manifest_that_changes_meanwhile_names_the_line(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.jsonl", [{"seed": 1}, {"seed": 2}])
    manifest = Manifest(path)
    path.write_text('{"seed": 1, "text": "longer"}\n{"seed": 2}\n')
    with pytest.raises(
        ValueError, match=r"manifest\.jsonl was changed since it was read: line 2: it is not JSON"
    ):
        manifest.row(1)
    path.unlink()
    with pytest.raises(ValueError, match=r"was changed since it was read: line 1"):
        manifest.row(0)


def test_whatever_is_wrong_with_a_row_its_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Request.read

    def read(values: dict[str, object], *more: object) -> Request:
        if values["seed"] == 2:
            raise OSError(36, "File name too long", "Am | F")
        return real(values, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Request, "read", read)
    path = write_manifest(tmp_path / "manifest.jsonl", [{"seed": seed} for seed in range(4)])
    with pytest.raises(ManifestError, match=r"1 bad row; the first is line 3: Am \| F: File name too long"):
        Manifest(path)


CHANGED = (
    b'{"text": "a trio", "seed": 1}\r\n\n'
    b'{"chords": "Am | F", "bpm": 90, "loop": true}\n'
    b'{"drums": "a.wav", "references": {"density": "b.wav"}, "keep": null}\n'
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_manifest_with_any_bytes_changed_is_rows_or_names_its_lines(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(CHANGED)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        size = data.draw(st.integers(0, 3))
        content[place : place + size] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b",", b"{", b'"', b"\xef\xbb\xbf"])
        )
    path = tmp_path / "changed.jsonl"
    path.write_bytes(bytes(content))
    try:
        rows = list(Manifest(path))
    except ManifestError as error:
        assert error.problems and all(problem.line >= 1 for problem in error.problems)
        assert all(problem.message and "\n" not in problem.message for problem in error.problems)
        assert str(path) in str(error) and "line " in str(error) and is_bad_input(error)
    else:
        assert rows


def test_links_in_a_ring_are_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "ring.wav").symlink_to(tmp_path / "ring.wav")
    (tmp_path / "manifest.jsonl").write_bytes(b'{"seed": 1}\n{"melody": "ring.wav"}')
    with pytest.raises(ManifestError, match="line 2: melody must be the path of a file"):
        Manifest(tmp_path / "manifest.jsonl")


def test_four_thousand_rows_are_planned_without_loading_them(tmp_path: Path) -> None:
    """Of each row its place and its name are kept, some 200 bytes; never its content.

    So a hundred thousand rows take 20 MB at most; to read them takes a minute.
    """
    path = tmp_path / "manifest.jsonl"
    text = "x" * 800
    n_rows = 4_000
    with path.open("w") as file:
        for seed in range(n_rows):
            file.write(json.dumps({"text": text, "seed": seed}) + "\n")
    tracemalloc.start()
    manifest = Manifest(path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(manifest) == n_rows and manifest.row(3_999).request.seed == 3_999
    assert kept < 40 * n_rows and peak < 400 * n_rows


def test_names_do_not_depend_on_place_or_order(tmp_path: Path) -> None:
    rows = [{"drums": "beat.wav"}, {"chords": "Am | F", "name": "mine"}, {"text": "Slow, slow song!"}]
    first = Manifest(write_manifest(tmp_path / "a" / "manifest.jsonl", rows))
    second = Manifest(write_manifest(tmp_path / "b" / "manifest.jsonl", rows[::-1]))
    names = [row.name for row in first]
    assert names == [row.name for row in second][::-1]
    assert [name[:-11] for name in names] == ["beat", "mine", "slow-slow-song"]
    assert first.row(0).request.drums == str(tmp_path / "a" / "beat.wav")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text(max_size=6).map(lambda user: f"~{user}/x.wav"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=40)
        | st.dictionaries(
            st.sampled_from([*REQUEST_FIELDS, "name"]) | st.text(max_size=6), JSON, max_size=4
        ).map(lambda values: json.dumps(values).encode()),
        max_size=4,
    )
)
def test_any_manifest_is_rows_or_one_clear_error(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        rows = list(Manifest(path))
    except ManifestError as error:
        assert error.n_problems == len(error.problems) >= 1
        assert all(problem.line >= 1 and problem.message for problem in error.problems)
    except ValueError as error:
        assert "holds no rows" in str(error)
    else:
        assert len({row.name.lower() for row in rows}) == len(rows)


def test_a_folder_and_a_grid_become_rows(tmp_path: Path) -> None:
    for name in ("b.wav", "a.mid", "sub/c.lab", "notes.pdf", "._b.wav", "sub/._c.lab", ".old/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    rows = reference_rows(tmp_path, ["drums", "chords"])
    assert rows == [
        {"melody": str(tmp_path / "a.mid")},
        {"drums": str(tmp_path / "b.wav"), "chords": str(tmp_path / "b.wav")},
        {"chords": str(tmp_path / "sub/c.lab")},
    ]
    (tmp_path / "out" / "clips").mkdir(parents=True)
    for name in ("out/clips/made.wav", "out/table.csv"):
        (tmp_path / name).write_bytes(b"")
    assert reference_rows(tmp_path, ["drums", "chords"], tmp_path / "sub" / ".." / "out") == rows
    grid = list(grid_rows(["x", "y"], rows, parse_seeds("0-1,5")))
    assert len(grid) == 18 and grid[0] == {"text": "x", "melody": str(tmp_path / "a.mid"), "seed": 0}
    assert len(Manifest(write_manifest(tmp_path / "manifest.jsonl", grid))) == 18
    with pytest.raises(ValueError, match="holds no references"):
        (tmp_path / "nothing").mkdir()
        reference_rows(tmp_path / "nothing")
    with pytest.raises(ValueError, match="controls to take"):
        reference_rows(tmp_path, ["bass"])
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds("3-1")

"""Manifests: every bad row named by its line, and long ones held by their places alone."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowmusic.api.request import REQUEST_FIELDS
from flowmusic.batch.manifest import Manifest, ManifestError
from flowmusic.batch.sources import grid_rows, parse_seeds, reference_rows, write_manifest

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
        (b'{"text": "\xff"}', "not UTF-8"),
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

"""Text files of every encoding, and files that are not what their names say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.text_files import TextFileError, parse_json, read_json, read_lines, read_text, unprintable
from tests.refusals import LFS_POINTER, WEB_PAGE, written

TEXT = "Ballade für Flügel\r\n日本の歌 🎵\rlast line"
LINES = ["Ballade für Flügel", "日本の歌 🎵", "last line"]
MARKS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
    "utf-32-le": b"\xff\xfe\0\0",
    "utf-32-be": b"\0\0\xfe\xff",
}


@pytest.mark.parametrize("encoding", MARKS)
def test_a_byte_order_mark_is_no_part_of_a_text(encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", MARKS[encoding] + TEXT.encode(encoding))
    assert read_text(path, "prompts") == TEXT
    assert read_lines(path, "prompts") == LINES
    path = written(tmp_path / "a.json", MARKS[encoding] + json.dumps(LINES).encode(encoding))
    assert read_json(path, "lines") == LINES


def test_only_ends_of_lines_end_lines(tmp_path: Path) -> None:
    """JSON may hold the other separators that Python's splitlines knows."""
    text = '{"text": "a\u2028b\u0085c"}\n{}'
    assert read_lines(written(tmp_path / "a.jsonl", text.encode()), "rows") == text.split("\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one\ntwo\nBallade für Flügel".encode("latin-1"), "a.txt, line 3: cannot be read as UTF-8 text"),
        ("naïve – “quotes”".encode("cp1252"), "a.txt, line 1: cannot be read as UTF-8 text"),
        ("no mark".encode("utf-16-le"), "a.txt, line 1: cannot be read as UTF-8 text"),
        (b"\xff\xfe" + "odd".encode("utf-16-le") + b"x", "a.txt, line 1: cannot be read as UTF-8 text"),
        (b"one\n\0two", "a.txt, line 2: cannot be read as UTF-8 text; expected prompts: save as UTF-8"),
        (b"", "a.txt is empty; expected prompts"),
        (b"\xef\xbb\xbf \n", "a.txt is empty; expected prompts"),
        (
            LFS_POINTER,
            "a.txt is a Git LFS pointer, not the file itself: run `git lfs pull`; expected prompts",
        ),
        (WEB_PAGE, "a.txt is a web page (HTML), not the file itself: download it again; expected prompts"),
    ],
)
def test_what_is_no_text_is_one_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(TextFileError) as caught:
        read_text(written(tmp_path / "a.txt", content), "prompts")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_places_without_a_text(tmp_path: Path) -> None:
    assert read_lines(written(tmp_path / "a.txt", b""), "captions", may_be_empty=True) == [""]
    for path, message in (
        (tmp_path, "is a folder; expected prompts"),
        (tmp_path / "gone", "does not exist; expected prompts"),
        (tmp_path / ("x" * 300), "cannot be read (File name too long); expected prompts"),
    ):
        with pytest.raises(TextFileError) as caught:
            read_text(path, "prompts")
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,}', "column"),
        ('{"a": 1,}', "no comma may stand before a closing bracket"),
        ('{"a": 1},', "no comma may stand before a closing bracket or after the last one"),
        ("[1, 2,]", "no comma may stand"),
        ('# note\n{"a": 1}', "line 1, column 1 (JSON has no comments)"),
        ('{"a": 1} // note', "JSON has no comments"),
        ("{'a': 1}", '"double quotes"'),
        ("{\n“a”: 1}", 'line 2, column 1 (texts stand between "double quotes")'),
        ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
        ('{"b": {"a": 1, "a": 1}}', "the key 'a' stands there twice"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "a number has too many digits"),
        ('{"a": 1', "it is not JSON"),
        ("", "it is not JSON"),
    ],
)
def test_what_is_no_json_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_json(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_characters_that_no_text_has() -> None:
    assert unprintable("für\t日本\r\n🎵 \u2028") == ""
    assert [unprintable(f"a{c}b") for c in "\0\x1b\x7f\x85\ud800\udce9"] == [
        "\\x00", "\\x1b", "\\x7f", "\\x85", "\\ud800", "\\udce9"
    ]  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text), st.sampled_from([*MARKS]))
def test_any_text_comes_back_in_any_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    if text[0] == "\ufeff" or encoding == "utf-8-sig":
        encoding, text = "utf-8-sig", text.lstrip("\ufeff") or "x"
    path = written(tmp_path / "a.txt", MARKS[encoding] + text.encode(encoding))
    try:
        assert read_text(path, "a text") == text
    except TextFileError as error:
        assert not text.strip() or "web page" in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_a_text_or_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "a.txt", content)
    for read in (read_text, read_json):
        try:
            read(path, "a text")
        except TextFileError as error:
            assert str(error).startswith(str(path)) and "expected a text" in str(error)

"""The page, in a real browser, as a musician uses it; where it matters the service runs by its command."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.installed import needs

pytestmark = [needs("playwright", "starlette", "uvicorn")]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
TOKEN = "t" * 24


class Server:
    """`flowmusic studio` on a folder, which can be killed and started again."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.port = 0
        self.start()

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [
            sys.executable,
            "-m",
            "flowmusic",
            "studio",
            str(self.folder),
            "--no-open",
            "--token",
            TOKEN,
        ]
        command += ["--port", str(self.port), "--checkpoint", str(self.checkpoint)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=\w+", line):
                self.port, self.address = int(found[1]), found[0]
                return
        raise AssertionError("the server did not start")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def command(tmp_path: Path, tiny_model: Path) -> Iterator[Server]:
    """The service as its command runs it."""
    running = Server(tmp_path / "session", tiny_model)
    yield running
    running.kill()


@pytest.fixture
def server(tmp_path: Path, flow_music: Any) -> Iterator[Any]:
    """The service in this process, which starts at once."""
    from tests.studio.server import served

    with served(flow_music, tmp_path / "session") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def open_on(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page of a service; afterwards there was no error on it, and no other host was asked."""
    contexts, errors, foreign = [], [], []

    def watch(page: Any, server: Any) -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.extend([message.text] if message.type == "error" else []))

        def asked(request: Any) -> None:
            local = (f"http://127.0.0.1:{server.port}/", "data:", "blob:")
            if not request.url.startswith(local):
                foreign.append(request.url)

        page.on("request", asked)

    def open_(server: Any, **options: Any) -> Any:
        context = browser.new_context(
            **({"viewport": DESKTOP, "color_scheme": "dark", "base_url": server.origin} | options)
        )
        context.set_default_timeout(PATIENCE_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.errors = errors
        watch(page, server)
        page.goto(server.address)
        page.wait_for_selector("body.ready")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors
    assert not foreign


@pytest.fixture
def open_page(server: Any, open_on: Callable[..., Any]) -> Callable[..., Any]:
    """Opens the page of the service in this process, which is there for longer than the page."""
    return partial(open_on, server)


def session_of(page: Any) -> dict[str, Any]:
    """What the server has, after the page has sent what it had to send."""
    page.wait_for_timeout(500)
    return page.request.get("/api/session").json()


def set_up(page: Any, **changes: Any) -> None:
    """A session of two bars at 120, and what else is said."""
    origin = page.url.split("?")[0].rstrip("/")
    answer = page.request.patch(
        "/api/session", data={"duration": 4.0, "bpm": 120.0} | changes, headers={"Origin": origin}
    )
    assert answer.ok, answer.text()
    page.wait_for_timeout(300)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def at(page: Any, lane: str, seconds: float, share: float = 0.5) -> tuple[float, float]:
    """The place of a time in a lane of the session's 4 s; `share` of its height from the top."""
    box = page.locator(f".{lane}-body").first.bounding_box()
    return box["x"] + box["width"] * seconds / 4.0, box["y"] + box["height"] * share


def generate(page: Any) -> None:
    """Makes a take, which plays by itself, and stops it."""
    n = page.locator(".take").count()
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".take").nth(n).wait_for()
    page.get_by_label("Pause (space)").click()
    page.get_by_label("To the start (home)").click()


def samples(page: Any, take: str) -> Any:
    return soundfile.read(io.BytesIO(page.request.get(f"/api/takes/{take}/audio").body()), dtype="int16")[0]


def playhead(page: Any) -> float:
    return float(page.get_by_role("slider", name="Playhead").get_attribute("aria-valuenow"))


def test_chords_are_typed_moved_and_undone(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page)
    page.get_by_label("Tools for chords").click()
    page.get_by_label("Chord chart").fill("Am F | C G7")
    page.get_by_role("button", name="Set").click()
    page.locator(".chord").nth(3).wait_for()
    labels = page.locator(".chord-label")
    assert labels.all_text_contents() == ["Am", "F", "C", "G7"]
    page.keyboard.press("Escape")

    page.locator(".chord").nth(1).dblclick()
    page.keyboard.type("Dm7")
    page.keyboard.press("Enter")
    page.get_by_text("Dm7", exact=True).wait_for()
    drag(page, at(page, "chords", 1.02, 0.3), at(page, "chords", 0.5, 0.3))  # the border, a beat back
    chords = session_of(page)["lanes"]["chords"]
    assert [(item["start"], item["end"]) for item in chords] == [(0, 0.5), (0.5, 2), (2, 3), (3, 4)]

    page.locator(".chord").nth(2).focus()
    page.keyboard.press("Delete")
    assert len(session_of(page)["lanes"]["chords"]) == 3
    page.locator(".chords-body").dblclick(
        position={"x": at(page, "chords", 2.1)[0] - at(page, "chords", 0)[0], "y": 30}
    )
    page.keyboard.type("Em")
    page.keyboard.press("Enter")
    page.get_by_text("Em", exact=True).wait_for()
    assert session_of(page)["lanes"]["chords"][2]["start"] == 2
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    again = session_of(page)["lanes"]["chords"]
    assert [(item["start"], item["end"]) for item in again] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    page.keyboard.press("Control+y")
    page.reload()
    page.wait_for_selector("body.ready")
    assert page.locator(".chord").count() == 4
    assert session_of(page)["lanes"]["chords"][0]["end"] == 0.5

    page.get_by_label("Tools for chords").click()
    page.get_by_role("button", name="Transpose up a semitone").click()
    assert labels.first.text_content() == "Bbm"


def test_what_is_no_chord_is_refused_in_the_words_of_the_command_line(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page, lanes={"chords": [{"start": 0, "end": 4, "label": "C"}]})
    page.locator(".chord").dblclick()
    page.keyboard.type("Hx")
    page.keyboard.press("Enter")
    message = page.get_by_role("alert")
    message.wait_for()
    assert "Hx" in message.text_content() and "chord" in message.text_content()
    assert page.locator(".chord-label").text_content() == "C"
    page.errors[:] = [
        text for text in page.errors if "400" not in text
    ]  # the refusal, as the browser logs it


def test_notes_are_drawn_moved_and_erased(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page)
    drag(page, at(page, "melody", 0.55), at(page, "melody", 1.5))
    (note,) = session_of(page)["lanes"]["melody"]
    assert (note["start"], note["end"]) == (0.5, 1.5)
    drag(page, at(page, "melody", 1.0, page_row(page)), at(page, "melody", 2.0, page_row(page) - 0.1))
    (moved,) = session_of(page)["lanes"]["melody"]
    assert (moved["start"], moved["end"]) == (1.5, 2.5) and moved["midi"] > note["midi"]
    drag(page, at(page, "melody", 2.48, page_row(page)), at(page, "melody", 3.0, page_row(page)))
    assert session_of(page)["lanes"]["melody"][0]["end"] == 3.0
    page.mouse.dblclick(*at(page, "melody", 2.0, page_row(page)))
    assert session_of(page)["lanes"]["melody"] == []
    page.keyboard.press("Control+z")
    page.locator(".melody-body").focus()
    for key in ("ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert [item["start"] for item in session_of(page)["lanes"]["melody"]] == [0.125, 1.5]


def page_row(page: Any) -> float:
    """Where the only note stands, as a share of the roll's height."""
    body, note = page.locator(".melody-body").bounding_box(), page.locator(".note").first.bounding_box()
    return (note["y"] + note["height"] / 2 - body["y"]) / body["height"]


def test_drums_are_set_taken_and_weighed(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page)
    page.mouse.click(*at(page, "drums", 0.06, 0.9))
    page.mouse.click(*at(page, "drums", 0.56, 0.4))
    drums = session_of(page)["lanes"]["drums"]
    assert [(item["time"], item["midi"]) for item in drums] == [(0, 36), (0.5, 38)]
    drag(page, at(page, "drums", 0.03, 0.9), at(page, "drums", 0.03, 1.2))
    assert session_of(page)["lanes"]["drums"][0]["velocity"] < 90
    page.mouse.click(*at(page, "drums", 0.03, 0.95))
    assert len(session_of(page)["lanes"]["drums"]) == 1
    page.locator(".drums-body").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter", "+"):
        page.keyboard.press(key)
    assert {"time": 0.25, "midi": 36, "velocity": 112} in session_of(page)["lanes"]["drums"]


def test_use_of_a_lane_tempo_and_settings(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page, lanes={"chords": [{"start": 2, "end": 4, "label": "C"}]})
    ruler = page.locator(".ruler-body").bounding_box()
    y = ruler["y"] + 12
    drag(page, (ruler["x"] + ruler["width"] * 0.5, y), (ruler["x"] + ruler["width"] * 0.76, y))
    page.get_by_label("Chords only in the selected part").click()
    page.get_by_label("Mute drums: the clip is free of them").click()
    page.get_by_label("Strength of melody").fill("4")
    use = session_of(page)["use"]
    assert use["chords"]["span"] == [2, 3] and use["drums"]["mute"] and use["melody"]["strength"] == 4
    page.get_by_label("Tempo").fill("60")
    page.get_by_label("Tempo").press("Enter")
    session = session_of(page)
    assert session["duration"] == 8 and session["lanes"]["chords"][0]["start"] == 4
    click = page.get_by_role("button", name="Click", exact=True)
    click.click()
    assert click.get_attribute("aria-pressed") == "true"
    page.keyboard.press("c")
    assert click.get_attribute("aria-pressed") == "false"
    page.get_by_text("Advanced").click()
    page.get_by_label("steps", exact=True).fill("3")
    page.get_by_label("steps", exact=True).press("Enter")
    assert session_of(page)["request"]["steps"] == 3
    page.get_by_label("Presets").select_option(index=1)
    assert session_of(page)["lanes"]["chords"]


def test_takes_are_made_compared_changed_and_taken_home(command: Server, open_on: Callable[..., Any]) -> None:
    page = open_on(command)
    set_up(page, lanes={"chords": [{"start": 0, "end": 4, "label": "Am"}]}, request={"steps": 2})
    generate(page)
    assert page.locator(".wave-row:visible").count() == 1
    page.wait_for_timeout(800)
    page.keyboard.press("Space")
    page.wait_for_timeout(700)
    page.keyboard.press("Space")
    assert 0.3 < playhead(page) < 2.5
    generate(page)
    assert page.locator(".wave-row:visible").count() == 2

    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert playhead(page) == 0.5
    page.keyboard.press("b")
    assert playhead(page) == 0.5
    pressed = page.locator(".wave-row .deck-letter[aria-pressed=true]")
    assert pressed.text_content() == "B"
    page.keyboard.press("a")

    page.mouse.click(*at(page, "wave", 3.0))
    assert abs(playhead(page) - 3.0) < 0.05
    of = session_of(page)["selected"]
    drag(page, at(page, "wave", 1.0), at(page, "wave", 2.05))
    page.get_by_role("button", name="Make this part anew").click()
    page.locator(".take").nth(2).wait_for()
    made = next(take for take in session_of(page)["takes"] if take["id"] == session_of(page)["selected"])
    assert made["id"] != of and made["kept"]
    old, new = samples(page, of), samples(page, made["id"])
    rate = round(len(old) / 4.0)
    assert len(old) == len(new)
    for start, end in made["kept"]:
        span = slice(round(start * rate), round(end * rate))
        assert (old[span] == new[span]).all()
    assert (old[round(1.4 * rate) : round(1.6 * rate)] != new[round(1.4 * rate) : round(1.6 * rate)]).any()

    row = page.locator(f".take[data-id='{made['id']}']")
    row.get_by_label("Star").click()
    row.get_by_label("Name of the take").fill("The one")
    row.get_by_label("Name of the take").press("Enter")
    named = next(take for take in session_of(page)["takes"] if take["id"] == made["id"])
    assert named["star"] and named["name"] == "The one"
    row.get_by_label("Take home").click()
    with page.expect_download() as download:
        row.get_by_role("link", name="FLAC").click()
    assert abs(soundfile.info(download.value.path()).duration - 4.0) < 1e-3
    row.get_by_label("Take home").click()
    row.get_by_role("button", name="Copy as command").click()
    page.get_by_text("The command is copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("flowmusic generate")
    row.get_by_label("Delete the take").click()
    row.wait_for(state="detached")
    page.get_by_role("button", name="Undo", exact=True).click()
    row.wait_for()
    page.reload()
    page.wait_for_selector("body.ready")
    assert page.locator(".take").count() == 3


def test_a_file_is_dropped_and_gives_its_chords(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    set_up(page)
    table = tmp_path / "song.lab"
    table.write_text("0 2 A:min\n2 4 F:maj\n", encoding="utf-8")
    page.locator("#file").set_input_files(table)
    page.locator(".upload").get_by_role("button", name="chords").click()
    page.locator(".chord").nth(1).wait_for()
    assert page.locator(".chord-label").all_text_contents() == ["Am", "F"]


def test_a_file_is_deleted_and_comes_back(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    set_up(page)
    table = tmp_path / "song.lab"
    table.write_text("0 2 A:min\n2 4 F:maj\n", encoding="utf-8")
    page.locator("#file").set_input_files(table)
    page.get_by_label("Delete song.lab").click()
    page.locator(".upload").wait_for(state="detached")
    assert [item["deleted"] for item in session_of(page)["uploads"]] == [True]
    page.keyboard.press("Control+z")
    page.locator(".upload").wait_for()
    page.get_by_label("Delete song.lab").click()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.locator(".upload").wait_for()


def test_the_microphone_is_recorded_and_its_melody_taken(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page)
    page.context.grant_permissions(["microphone"])
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name=re.compile("^Stop")).wait_for()
    page.wait_for_timeout(2500)  # the browser's own device beeps once a second
    page.get_by_role("button", name=re.compile("^Stop")).click()
    upload = page.locator(".upload")
    upload.wait_for()
    assert upload.locator(".upload-name").text_content() == "microphone.wav"
    (kept,) = session_of(page)["uploads"]
    assert 1.5 < kept["duration"] < 10
    sound, _ = soundfile.read(io.BytesIO(page.request.get(f"/api/uploads/{kept['id']}/audio").body()))
    assert abs(sound).max() > 0.01
    upload.get_by_role("button", name="drums").click()
    upload.get_by_role("button", name="drums", pressed=True).wait_for()


def test_the_curve_of_a_recording_stays_behind_the_notes(
    open_page: Callable[..., Any], music_file: Path
) -> None:
    page = open_page()
    set_up(page)
    page.locator("#file").set_input_files(music_file)
    page.locator(".upload").get_by_role("button", name="melody", exact=True).click()
    page.locator(".asked-curve").first.wait_for(state="attached")
    notes = page.locator(".note").count()
    assert notes >= 2
    page.locator(".note").first.dblclick()
    page.locator(".note").nth(notes - 1).wait_for(state="detached")
    use = session_of(page)["use"]["melody"]
    assert use["source"] is None and use["origin"]
    page.reload()
    page.wait_for_selector("body.ready")
    page.locator(".asked-curve").first.wait_for(state="attached")
    page.get_by_label("Presets").select_option(index=1)  # it replaces every lane
    page.locator(".asked-curve").first.wait_for(state="detached")
    assert page.locator(".note").count() == 0


def test_of_a_long_song_what_is_near_the_view_is_drawn(open_page: Callable[..., Any]) -> None:
    page = open_page()
    strokes = [{"time": i / 4, "midi": 36, "velocity": 100} for i in range(960)]
    set_up(page, duration=240.0, lanes={"drums": strokes})
    page.locator(".stroke").nth(959).wait_for()  # all of it fits the view
    for _ in range(6):
        page.get_by_label("Zoom in").click()
    page.locator(".stroke").nth(500).wait_for(state="detached")
    page.locator(".scroller").evaluate("(scroller) => { scroller.scrollLeft = 1e6; }")
    last = page.locator('.stroke[data-index="959"]')
    last.click()
    last.wait_for(state="detached")
    assert [item["time"] for item in session_of(page)["lanes"]["drums"]] == [i / 4 for i in range(959)]


def test_a_part_is_selected_by_touch(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    set_up(page)
    ruler = page.locator(".ruler-body")
    ruler.scroll_into_view_if_needed()
    box = ruler.bounding_box()
    y, xs = box["y"] + box["height"] / 2, [box["x"] + box["width"] * share for share in (0.26, 0.4, 0.74)]
    touch = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", xs[0]), ("touchMove", xs[1]), ("touchMove", xs[2]), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.locator(".selection-text").get_by_text("–").wait_for()
    assert page.locator(".selection-text").get_attribute("title") == "1.00 to 3.00 s"


def test_of_a_language_model_the_page_shows_what_it_has(
    open_on: Callable[..., Any], tmp_path: Path, tiny_lm: Path
) -> None:
    from flowmusic.api.model import FlowMusic
    from tests.studio.server import served

    with served(FlowMusic.from_pretrained(tiny_lm), tmp_path / "session") as server:
        page = open_on(server)
        set_up(page, lanes={"chords": [{"start": 0, "end": 4, "label": "Am"}]}, request={"steps": 3})
        page.get_by_text("Advanced").click()
        assert page.get_by_label("temperature", exact=True).is_visible()
        assert page.get_by_label("top k", exact=True).is_visible()
        assert not page.get_by_label("solver", exact=True).is_visible()
        page.get_by_text("The model is a language model: it has no steps, solver, vary, loop").wait_for()
        page.get_by_label("steps", exact=True).fill("")  # another model's: it is shown to be taken out
        page.get_by_label("steps", exact=True).press("Enter")
        page.get_by_label("steps", exact=True).wait_for(state="hidden")
        page.get_by_label("temperature", exact=True).fill("0.8")
        page.get_by_label("temperature", exact=True).press("Enter")
        generate(page)
        assert session_of(page)["takes"][0]["request"]["temperature"] == 0.8
        assert page.get_by_role("button", name="Another seed").count() == 1
        assert page.get_by_role("button", name="Vary").count() == 0
        page.context.close()


def test_long_work_is_cancelled_at_once(open_page: Callable[..., Any]) -> None:
    page = open_page()
    set_up(page, duration=60.0, request={"steps": 400})
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".job").wait_for()
    page.reload()  # the queue is the server's
    page.wait_for_selector("body.ready")
    page.locator(".job").get_by_label("Cancel").click()
    page.get_by_text("Cancelled.").wait_for(timeout=10_000)
    assert page.locator(".job").count() == 0 and page.locator(".take").count() == 0


def test_a_server_that_was_killed_has_the_edits_when_it_is_back(
    command: Server, open_on: Callable[..., Any]
) -> None:
    page = open_on(command)
    set_up(page)
    page.mouse.click(*at(page, "drums", 0.06, 0.9))
    page.wait_for_timeout(1000)
    command.kill()
    page.locator("body.offline").wait_for()
    page.errors.clear()  # a server that is away is an error of the browser's console
    command.start()
    page.locator("body.ready:not(.offline)").wait_for()
    page.errors.clear()
    assert [item["midi"] for item in session_of(page)["lanes"]["drums"]] == [36]
    page.mouse.click(*at(page, "drums", 1.06, 0.9))
    assert len(session_of(page)["lanes"]["drums"]) == 2


def test_two_tabs_see_one_state(open_page: Callable[..., Any]) -> None:
    first, second = open_page(), open_page()
    set_up(first)
    first.mouse.click(*at(first, "drums", 0.06, 0.9))
    second.locator(".stroke").wait_for()
    second.keyboard.press("Control+z")  # the other tab's edit is not this tab's to undo
    assert len(session_of(second)["lanes"]["drums"]) == 1


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(
    "size", [DESKTOP, {"width": 1024, "height": 768}, PHONE], ids=["1280", "1024", "phone"]
)
@needs("axe_playwright_python")
def test_the_page_is_accessible_and_fits(
    open_page: Callable[..., Any], scheme: str, size: dict[str, int]
) -> None:
    page = open_page(viewport=size, color_scheme=scheme, bypass_csp=True)
    set_up(page, lanes={"chords": [{"start": 0, "end": 4, "label": "Am"}]}, request={"steps": 2})
    page.get_by_text("Advanced").click()
    generate(page)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    package = importlib.util.find_spec("axe_playwright_python")
    assert package is not None and package.origin is not None
    page.evaluate((Path(package.origin).parent / "axe.min.js").read_text("utf-8"))
    violations = page.evaluate("axe.run().then((found) => found.violations)")
    assert not [
        (item["id"], item["nodes"][0]["html"][:200], item["nodes"][0]["failureSummary"])
        for item in violations
    ]

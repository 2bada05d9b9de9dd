"""What the studio costs: from a click to sound, in a browser; uploads, memory, page weight, the extra.

    python -m benchmarks.studio --clips 7 --takes 100

Starts `flowmusic studio` on a folder of its own, opens the page in chromium with a chart, and presses
Generate. A clip sounds when the browser's audio element says that it plays. Takes for the memory are asked of
the service one after the other; it is measured once all of them have scores and plots.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flowmusic.evaluation.report import markdown_table

TOKEN = "t" * 24
EXTRA = ("starlette", "uvicorn", "anyio", "click", "h11", "idna", "sniffio")
RECORDING = Path(__file__).resolve().parents[1] / "examples" / "melody.ogg"
LABELS = ("Am", "F", "C", "G7")
CHART = [{"start": 2.5 * i, "end": 2.5 * (i + 1), "label": label} for i, label in enumerate(LABELS)]
WATCH = """
window.sounding = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  this.addEventListener("playing", () => window.sounding.push(performance.now()), { once: true });
  return play.call(this);
};
document.addEventListener("click", () => (window.clicked = performance.now()), true);
"""


class Service:
    """`flowmusic studio` on a folder; `started_s` until it printed its address."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "flowmusic", "studio", str(folder), "--no-open", "--token", TOKEN]
        begun = time.perf_counter()
        command += ["--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = next((line for line in self.process.stdout if "http://" in line), "")
        self.started_s = time.perf_counter() - begun
        found = re.search(r"(http://[\d.:]+)/\?token=\w+", line)
        if found is None:
            raise SystemExit("the studio did not start")
        self.origin, self.address = found[1], found[0]

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")


def imported_s(statement: str) -> float:
    """Seconds of a Python that does one thing, the best of five."""
    command = [sys.executable, "-c", statement]
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(command, check=True)
        times.append(time.perf_counter() - begun)
    return min(times)


def extra_mb() -> float:
    """Size on disk of what the extra brings, whatever else may need it too."""
    total = 0
    for name in EXTRA:
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = [Path(str(file.locate())) for file in files]
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total / 1e6


def open_page(browser: Any, service: Service) -> tuple[Any, float, int]:
    """The page, how many seconds it took to be ready, and how many bytes came."""
    page = browser.new_context(viewport={"width": 1280, "height": 860}, bypass_csp=True).new_page()
    weights: list[int] = []
    page.on("response", lambda answer: weights.append(int(answer.headers.get("content-length", 0))))
    page.add_init_script(WATCH)
    begun = time.perf_counter()
    page.goto(service.address)
    page.wait_for_selector("body.ready")
    return page, time.perf_counter() - begun, sum(weights)


def click_to_sound(page: Any, n_clips: int) -> list[float]:
    """Seconds of each clip of 10 s, from the press of Generate to the audio element that plays."""
    times = []
    for index in range(n_clips):
        page.evaluate("window.sounding = []")
        page.get_by_role("button", name="Generate", exact=True).click()
        page.wait_for_function("window.sounding.length > 0", timeout=120_000)
        times.append(page.evaluate("(window.sounding[0] - window.clicked) / 1000"))
        page.keyboard.press("Space")  # rest
        page.wait_for_function(f"document.querySelectorAll('.take').length > {index}")
        time.sleep(8.0)  # scores and plot of the take, which nobody waits for
    return times


def opening_s(page: Any, service: Service, ask: dict[str, str], n: int = 5) -> float:
    """Median seconds in which the service opens a recording that is sent."""
    content, times = RECORDING.read_bytes(), []
    for _ in range(n):
        begun = time.perf_counter()
        page.request.post(f"{service.origin}/api/uploads?name={RECORDING.name}", data=content, headers=ask)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=7, help="clips of 10 s from click to sound (7)")
    parser.add_argument("--takes", type=int, default=100, help="takes in the session for its memory (100)")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        service = Service(Path(folder), [])
        try:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
            )
            page, ready_s, weight = open_page(browser, service)
            ask = {"Origin": service.origin, "Authorization": f"Bearer {TOKEN}"}
            changes = {"duration": 10.0, "lanes": {"chords": CHART}, "request": {"text": "calm piano trio"}}
            page.request.patch(f"{service.origin}/api/session", data=changes, headers=ask)
            page.wait_for_timeout(1000)
            before = service.memory_mib()
            opened_s = opening_s(page, service, ask)
            times = click_to_sound(page, options.clips)
            for seed in range(options.takes - options.clips):
                asked = {"kind": "generate", "seeds": [1000 + seed]}
                job = page.request.post(f"{service.origin}/api/jobs", data=asked, headers=ask).json()["id"]
                while any(
                    item["id"] == job and item["state"] in ("waiting", "running")
                    for item in page.request.get(f"{service.origin}/api/jobs", headers=ask).json()
                ):
                    time.sleep(0.1)
            while any(
                take["overall"] is None
                for take in page.request.get(f"{service.origin}/api/takes", headers=ask).json()
            ):
                time.sleep(1.0)
            after = service.memory_mib()
            browser.close()
        finally:
            service.process.kill()
    bare = imported_s("pass")
    sound = f"{statistics.median(times):.2f} s, {max(times):.2f} s"
    added = imported_s("import starlette.applications, uvicorn") - bare
    rows: list[list[str | float | None]] = [
        ["click to sound, 10 s clip, chart (median, slowest)", sound],
        ["start to address", f"{service.started_s:.1f} s"],
        ["page ready", f"{ready_s:.2f} s, {weight / 1000:.0f} kB"],
        ["opening a recording of 13 s", f"{opened_s:.2f} s"],
        [f"memory before, and with {options.takes} takes", f"{before:.0f}, {after:.0f} MiB"],
        ["the extra", f"{extra_mb():.1f} MB, {added:.2f} s"],
    ]
    sys.stdout.write(markdown_table(["what", "measured"], rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

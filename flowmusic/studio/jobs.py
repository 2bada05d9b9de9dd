"""What jobs do: extract lanes, generate takes, and, while nobody waits, listen to what was made."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from features.audio import Audio
from features.cache import FeatureCache
from features.events import extract_events
from features.extract import Progress, no_progress
from features.files import whole_file
from features.references import open_reference
from features.text_files import read_json
from flowmusic.api.clip import CandidateInfo, Clip, ClipInfo
from flowmusic.api.model import FlowMusic
from flowmusic.api.prepared import Prepared
from flowmusic.api.request import Request
from flowmusic.api.sampler import SamplerSettings
from flowmusic.api.sidecar import read_sidecar
from flowmusic.errors import reason
from flowmusic.evaluation.scoring import NOTHING_TO_CHOOSE_BY, Choice, Scores, holes, score_events
from flowmusic.plots.figures import plot_controls
from flowmusic.studio.asking import Ask, ExtractAsk, GenerateAsk, lanes_asked, read_ask, request_of, seeds_of
from flowmusic.studio.hub import Hub
from flowmusic.studio.lanes import LANES, Lane, check_lane, items
from flowmusic.studio.listening import Heard, for_clips, listen, pitch_curve
from flowmusic.studio.queue import Job, JobQueue
from flowmusic.studio.session import Session, new_id
from flowmusic.studio.takes import TakePaths, read_sound, take_of, take_paths, write_plain

log = logging.getLogger(__name__)

_PREPARED_KEPT = 4


class Studio:
    """A model that stays warm, a session, and the jobs that bring them together.

    Args:
        listens: whether takes are listened to (scores, plot, what is heard) while nobody waits.
        warms: whether a clip is made at the start that nobody sees, so that the first one comes as quickly as
            the others.
    """

    def __init__(self, model: FlowMusic, folder: Path, listens: bool = True, warms: bool = False) -> None:
        self.model = model
        self.hub = Hub()
        self.session = Session(folder, model.model.defaults.duration_s, self.hub.publish)
        self.model.extractors.cache = FeatureCache(folder / "cache")
        self.prepared = PreparedCache(model)
        self.queue = JobQueue(self._work, self._idle, self.hub.publish, self._warm if warms else lambda: None)
        self._listens = listens
        self._unheard = deque(
            take.id for take in self.session.takes() if not self._paths(take.id).extracted.is_file()
        )
        self._listening: Generator[str, None, None] | None = None

    def start(self) -> None:
        self.queue.start()

    def close(self) -> None:
        self.hub.close()
        self.queue.close()

    def add_job(self, values: object) -> Job:
        """Check what is asked, and queue it.

        Raises:
            ValueError: it cannot be, in the words of the command line; seen without long work.
            NotFoundError: an upload or a take that is not there.
            QueueFullError: too many wait.
        """
        ask = read_ask(values)
        if isinstance(ask, ExtractAsk):
            upload = self.session.upload(ask.upload)
            if missing := [role for role in ask.roles if role not in upload.gives]:
                raise ValueError(f"{upload.name} gives {', '.join(upload.gives)}, not {missing[0]}")
            model = self.model.model
            if "style" in ask.roles and model.network.style is None:
                raise ValueError(
                    f"the model {model.name!r} was trained without style: it takes no style reference"
                )
            self.model.limits.shape.check_controls([role for role in ask.roles if role != "style"])
            return self.queue.add(ask.kind, (ask, None, None))
        request = request_of(self.session, ask, self.model.model.defaults)
        lanes = {} if ask.vary else lanes_asked(self.session.plain(), request.duration or 0.0)
        limits = self.model.limits
        limits.shape.check_controls(tuple(request.sources))
        SamplerSettings.of(limits.defaults, request, request.guidance, limits.draws_tokens)
        return self.queue.add(ask.kind, (ask, request, lanes))

    def _paths(self, identity: str) -> TakePaths:
        return take_paths(self.session.takes_folder, identity)

    def _work(self, job: Job, progress: Progress) -> None:
        ask: Ask
        ask, request, lanes = job.ask
        if isinstance(ask, ExtractAsk):
            self._extract(ask, progress)
        else:
            self._generate(job, ask, request, lanes, progress)

    def _extract(self, ask: ExtractAsk, progress: Progress) -> None:
        upload = self.session.upload(ask.upload)
        path = self.session.upload_path(upload)
        roles = tuple(role for role in LANES if role in ask.roles)
        changes: dict[str, Any] = {}
        if "style" in ask.roles:
            changes["request"] = {"style": upload.id}
        source = None
        if upload.kind != "recording":
            found = read_json(path, "symbols of an upload")
            lanes: dict[str, Lane] = {role: check_lane(role, found[role]) for role in roles}
        else:
            source = upload.id
            lanes = {}
            if roles:
                duration_s = self.model.limits.lengths.extraction_s(self.session.plain()["duration"])
                audio = open_reference(roles[0], path).content
                assert isinstance(audio, Audio)
                heard = _through(
                    listen(self.model.extractors, audio, roles, upload.name, duration_s), len(roles), progress
                )
                lanes = {role: lane for role, lane in heard.lanes().items() if role in roles}
                if "melody" in roles:
                    part = heard.extracted
                    curve = pitch_curve(part.f0_times_s, part.f0_hz, part.confidence)
                    write_plain(path.with_suffix(".curve.json"), curve)
        progress("extracting", 1, 1)
        if lanes or changes:
            use = {role: {"source": source, "origin": upload.id, "mute": False} for role in lanes}
            self.session.patch(changes | {"lanes": lanes, "use": use})

    def _generate(
        self, job: Job, ask: GenerateAsk, request: Request, lanes: dict[str, Lane], progress: Progress
    ) -> None:
        seeds = seeds_of(ask, request.seed)
        prepared = self.prepared.get(request, progress)
        asked = _asked(prepared, lanes)
        clips = self.model.render_each(prepared, seeds, progress)
        if not ask.best or len(seeds) == 1:
            for clip in clips:
                self._keep(job, clip, asked)
            return
        if not prepared.followed:
            raise ValueError(NOTHING_TO_CHOOSE_BY)
        best: tuple[Clip, Heard] | None = None
        table = []
        for clip in clips:
            audio = Audio(clip.audio, clip.sample_rate)
            heard = _through(listen(for_clips(self.model.extractors), audio), len(LANES), progress)
            scores = self._scores(prepared, clip.info, heard)
            overall = round(Choice().overall(scores), 4)
            table.append(CandidateInfo(seed=clip.info.seed, overall=overall))
            if best is None or overall > (best[0].info.overall or 0.0):
                best = clip.with_info(scores=scores, overall=overall), heard
        assert best is not None
        self._keep(job, best[0].with_info(candidates=tuple(table)), asked, best[1])

    def _keep(self, job: Job, clip: Clip, asked: dict[str, Lane], heard: Heard | None = None) -> None:
        """Put a clip on disk, whole, and only then into the session; `heard` where it was listened to.

        The first of a job is selected, so that it is played while the others are made.
        """
        identity = new_id()
        paths = self._paths(identity)
        write_plain(paths.asked, asked)
        clip.save(paths.sound)
        if heard is not None:
            _write_heard(paths.extracted, heard, clip.info.scores or {})
        take = take_of(paths, identity, clip.info, Audio(clip.audio, clip.sample_rate))
        job.takes.append(identity)
        self.session.put_take(take, select=len(job.takes) == 1, job=job.id)
        self._unheard.append(identity)

    def _scores(self, prepared: Prepared, info: ClipInfo, heard: Heard) -> Scores:
        asked = extract_events(
            self.model.extractors,
            [item for item in prepared.followed if item.role in LANES],
            prepared.controls.grid.duration_s,
            prepared.request.loop_chords,
        )
        spans = prepared.request.followed_spans
        scores = score_events(asked, heard.extracted, holes(info.kept, info.duration), spans)
        return {name: None if value is None else round(value, 4) for name, value in scores.items()}

    def _warm(self) -> None:
        """Make a clip as a job does, and forget it: what is imported and compiled on the way stays."""
        prepared = self.model.prepare(Request(text="calm piano", duration=2.0))
        clip = self.model.render(prepared, [0])[0]
        with TemporaryDirectory() as folder:
            paths = take_paths(Path(folder), "warm")
            clip.save(paths.sound)
            take_of(paths, "warm", clip.info, Audio(clip.audio, clip.sample_rate))

    def _idle(self) -> bool:
        """One step of listening to what was made; False where there is nothing to do."""
        if not self._listens:
            return False
        if self._listening is None:
            if not self._unheard:
                return False
            self._listening = self._listen_to(self._unheard.popleft())
        try:
            next(self._listening)
        except StopIteration:
            self._listening = None
        except Exception:
            self._listening = None
            raise
        return True

    def _listen_to(self, identity: str) -> Generator[str, None, None]:
        """Score a take, draw its plot and keep what is heard in it, in steps."""
        paths = self._paths(identity)
        info = read_sidecar(paths.sidecar)
        audio = read_sound(paths.sound)
        heard = yield from listen(for_clips(self.model.extractors), audio)
        yield "scoring"
        prepared = self.prepared.get(info.request)
        scores = self._scores(prepared, info, heard)
        overall = round(Choice().overall(scores), 4) if scores else None
        info = info.updated(scores=scores, overall=overall)
        write_text(paths.sidecar, info.to_json())
        yield "drawing"
        try:
            plot_controls(
                prepared.controls, heard.extracted, audio, paths.plot, info.request.text or "", scores=scores
            )
        except (ValueError, OSError) as error:
            log.warning("%s cannot be drawn: %s", paths.plot, reason(error))
        _write_heard(paths.extracted, heard, scores)
        self.session.update_take(identity, scores=scores, overall=overall)


class PreparedCache:
    """What was prepared for the last requests, by all of a request but its seed."""

    def __init__(self, model: FlowMusic) -> None:
        self.model = model
        self._lock = Lock()
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def get(self, request: Request, progress: Progress = no_progress) -> Prepared:
        """As `FlowMusic.prepare`; its seed may be that of an earlier request."""
        if request.composes and request.song is None:
            request = request.replace(song=request.seed)  # the song that goes with this seed
        key = request.replace(seed=0).digest
        with self._lock:
            prepared = self._kept.get(key)
        if prepared is None:
            prepared = self.model.prepare(request, progress)
        with self._lock:
            self._kept[key] = prepared
            self._kept.move_to_end(key)
            while len(self._kept) > _PREPARED_KEPT:
                self._kept.popitem(last=False)
        return prepared


def _through(steps: Generator[str, None, Heard], n: int, progress: Progress) -> Heard:
    """All steps of listening, with progress, which may end it between two of them."""
    done = 0
    while True:
        try:
            role = next(steps)
        except StopIteration as end:
            return end.value
        progress(f"extracting the {role}", done, n)
        done += 1


def _write_heard(path: Path, heard: Heard, scores: Scores) -> None:
    write_plain(path, heard.plain() | {"scores": scores, "lanes": heard.lanes()})


def _asked(prepared: Prepared, lanes: dict[str, Lane]) -> dict[str, Lane]:
    """What a clip follows, as lanes: as they were typed, or the symbols of a song that was composed."""
    asked: dict[str, Lane] = {}
    for reference in prepared.followed:
        role = reference.role
        if lanes.get(role) or (role in LANES and reference.is_recording):
            asked[role] = lanes.get(role, [])
        elif role == "chords":
            asked[role] = items(role, reference.chord_segments(prepared.duration_s))
        elif role in LANES:
            asked[role] = items(role, reference.symbols)  # type: ignore[arg-type]
    return asked


def write_text(path: Path, text: str) -> None:
    """A text, whole or not at all; names of files in it need not be UTF-8."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")

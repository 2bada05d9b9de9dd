"""The rows of a batch, checked and listened to ahead of the generation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch.utils.data import Dataset

from features.audio import Audio
from features.controls import Controls
from features.events import hear_events
from features.listen import Listener
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.store import BatchSettings, ClipStore
from flowmusic.flow.schedule import Guidance
from flowmusic.inversion import Inversion, check_words
from flowmusic.jobs import Job
from flowmusic.length import LengthRule
from flowmusic.making import with_controls
from flowmusic.style import open_style


@dataclass(frozen=True)
class HeardRow:
    """A row whose references were listened to (they are in the cache now), or why they cannot be.

    The job of a variation has the controls of its clip.
    """

    row: Row
    finished: bool
    error: Exception | None


class HeardRows(Dataset[HeardRow]):
    """The rows of a manifest; taking one listens to its references, so that worker processes do it ahead.

    Clips that are finished are not listened for again.
    """

    def __init__(self, manifest: Manifest, store: ClipStore, listener: Listener, lengths: LengthRule) -> None:
        self.manifest, self.store, self.listener, self.lengths = manifest, store, listener, lengths

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> HeardRow:
        row = self.manifest.row(index)
        if self.store.is_finished(row.name):
            return HeardRow(row, True, None)
        try:
            row = replace(row, job=with_controls(row.job))
            listen_ahead(row.job, self.listener, self.lengths, self.store.settings)
        except (ValueError, OSError) as error:  # OSError: a folder that may not be entered, say
            return HeardRow(row, False, error)
        return HeardRow(row, False, None)


def listen_ahead(job: Job, listener: Listener, lengths: LengthRule, settings: BatchSettings) -> None:
    """Put into the cache what making (and scoring) a clip will ask of its references.

    ValueError where something that is asked for cannot be used; before any listening.
    """
    edit = job.edit()
    edit = None if edit is None else edit.opened()
    references = job.references()
    controls = None if job.controls is None else Controls.load(job.controls)
    duration_s = lengths.duration_s(job.duration_s, references, controls, edit)
    if job.style is not None:
        open_style(job.style, job.style_span())
    if job.guidance is not None:
        Guidance.parse(job.guidance).check_duration(duration_s)
    check_words(job.text or "", [Inversion.load(path) for path in job.inversions], settings.model)
    listening_s = lengths.listening_s(duration_s)
    stems: dict[str, Audio] = {}
    listener.listen(references, listening_s, job.loop_chords, stems=stems)
    if settings.scores:
        hear_events(listener, references, listening_s, job.loop_chords, stems)

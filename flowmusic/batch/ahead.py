"""The rows of a batch, checked and listened to ahead of the generation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch.utils.data import Dataset

from features.audio import Audio
from features.controls import Controls
from features.events import extract_events
from features.extract import Extractors
from flowmusic.api.length import LengthRule
from flowmusic.api.request import Job
from flowmusic.api.sidecar import with_controls
from flowmusic.api.style import open_style
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.store import BatchSettings, ClipStore
from flowmusic.conditioning.inversion import Inversion, check_words
from flowmusic.flow.schedule import Guidance


@dataclass(frozen=True)
class PreparedRow:
    """A row whose references were listened to (they are in the cache now), or why they cannot be.

    The job of a variation has the controls of its clip.
    """

    row: Row
    finished: bool
    error: Exception | None


class PreparedRows(Dataset[PreparedRow]):
    """The rows of a manifest; taking one listens to its references, so that worker processes do it ahead.

    Clips that are finished are not listened for again.
    """

    def __init__(
        self, manifest: Manifest, store: ClipStore, extractors: Extractors, lengths: LengthRule
    ) -> None:
        self.manifest, self.store, self.extractors, self.lengths = manifest, store, extractors, lengths

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> PreparedRow:
        row = self.manifest.row(index)
        if self.store.is_finished(row.name):
            return PreparedRow(row, True, None)
        try:
            row = replace(row, job=with_controls(row.job))
            extract_ahead(row.job, self.extractors, self.lengths, self.store.settings)
        except (ValueError, OSError) as error:  # OSError: a folder that may not be entered, say
            return PreparedRow(row, False, error)
        return PreparedRow(row, False, None)


def extract_ahead(job: Job, extractors: Extractors, lengths: LengthRule, settings: BatchSettings) -> None:
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
    extraction_s = lengths.extraction_s(duration_s)
    stems: dict[str, Audio] = {}
    extractors.extract(references, extraction_s, job.loop_chords, stems=stems)
    if settings.scores:
        extract_events(extractors, references, extraction_s, job.loop_chords, stems)

"""The rows of a batch, checked and extracted ahead of the generation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch.utils.data import Dataset

from features.audio import Audio
from features.events import extract_events
from features.extract import Extractors
from flowmusic.api.prepared import ModelLimits, open_request
from flowmusic.api.request import Request
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.store import BatchSettings, ClipStore
from flowmusic.conditioning.inversion import check_words
from flowmusic.errors import reason


@dataclass(frozen=True)
class PreparedRow:
    """A row whose recordings were extracted (their controls are in the cache now), or why they cannot be.

    The reason is a text, because not every error can be sent between processes.
    """

    row: Row
    finished: bool
    error: str | None


class PreparedRows(Dataset[PreparedRow]):
    """The rows of a manifest; taking one extracts its references, so that worker processes do it ahead.

    Nothing is extracted for clips that are finished.
    """

    def __init__(
        self, manifest: Manifest, store: ClipStore, extractors: Extractors, model: ModelLimits
    ) -> None:
        self.manifest, self.store, self.extractors, self.model = manifest, store, extractors, model

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> PreparedRow:
        row = self.manifest.row(index)
        if self.store.is_finished(row.name):
            return PreparedRow(row, True, None)
        try:
            request = extract_ahead(row.request, self.extractors, self.model, self.store.settings)
        except Exception as error:  # one row, whatever is wrong with it, never ends a batch
            return PreparedRow(row, False, reason(error))
        return PreparedRow(replace(row, request=request), False, None)


def extract_ahead(
    request: Request, extractors: Extractors, model: ModelLimits, settings: BatchSettings
) -> Request:
    """Put into the cache what making (and scoring) a clip will ask of its references.

    Returns:
        The request; that of a variation with what its clip had asked for.

    Raises:
        ValueError: something that is asked for cannot be used; before anything is extracted.
    """
    opened = open_request(model, request)
    request = opened.request
    check_words(request.text or "", opened.inversions, settings.model)
    extraction_s = model.lengths.extraction_s(opened.duration_s)
    stems: dict[str, Audio] = {}
    extractors.extract(opened.references, extraction_s, request.loop_chords, stems=stems)
    if settings.scores:
        extract_events(extractors, opened.references, extraction_s, request.loop_chords, stems)
    return request

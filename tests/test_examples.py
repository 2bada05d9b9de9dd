"""The manifest of examples/ can be made as it stands."""

from __future__ import annotations

from pathlib import Path

from flowmusic.batch.manifest import Manifest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_row_of_the_gallery_is_a_clip_that_can_be_made() -> None:
    rows = list(Manifest(EXAMPLES / "gallery.jsonl"))
    assert len(rows) == 24 == len({row.name for row in rows})
    assert all(Path(path).is_file() for row in rows for path in row.request.files.values())
    assert all(row.request.text or row.request.sources for row in rows)

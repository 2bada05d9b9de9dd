"""The pipeline with a tiny untrained model: everything but how well it follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.audio import Audio, read_audio
from features.chord_labels import ChordSegment
from features.controls import Controls
from features.extract import Extractors, extract_controls
from features.symbols import DrumHit, Note
from flowmusic import Clip, ClipInfo, FlowMusic, Request
from flowmusic.api.sampling import Draw, Sampled, batches, sample

CHART = "Am | F C | G7 Csus4"
NOTES = [Note(0.0, 0.5, 60), Note(0.5, 1.0, 64), Note(1.0, 2.0, 67)]
HITS = [DrumHit(0.0, 36), DrumHit(0.5, 38), DrumHit(1.0, 36), DrumHit(1.5, 38)]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> FlowMusic:
    return FlowMusic.from_pretrained(tiny_model)


def test_generate_from_symbols(model: FlowMusic) -> None:
    clip = model.generate(drums=HITS, melody=NOTES, chords=CHART, duration=2.3, seed=5)
    assert clip.audio.shape == (1, round(2.3 * 32_000)) and clip.audio.dtype == np.float32
    assert np.isfinite(clip.audio).all() and np.abs(clip.audio).max() <= 0.95
    assert clip.audio.std() > 0
    assert clip.controls.given == ("drums", "melody", "chords")
    assert clip.controls.n_frames == 2 * clip.latents.shape[0] == 116  # 2.3 s at 25 Hz is 57.5 frames
    assert clip.info.evaluations == 3 and clip.info.condition_sets == 2


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(model: FlowMusic, tiny_model: Path) -> None:
    first = model.generate(chords=CHART, duration=1.0, seed=5)
    again = FlowMusic.from_pretrained(tiny_model).generate(chords=CHART, duration=1.0, seed=5)
    other = model.generate(chords=CHART, duration=1.0, seed=6)
    assert first.audio.tobytes() == again.audio.tobytes()
    assert first.audio.tobytes() != other.audio.tobytes()


def test_a_clip_is_the_same_alone_and_in_a_batch(model: FlowMusic) -> None:
    """Rendered with other seeds, before or after them, and solved as one batch with them."""
    prepared = model.prepare(Request(text="a brass band", chords="Am | F", duration=1.0))
    clips = model.render(prepared, [1, 2, 3])
    assert [clip.info.seed for clip in clips] == [clip.info.request.seed for clip in clips] == [1, 2, 3]
    together = sample(model.model, [Draw(prepared, seed) for seed in (3, 1, 2)], per_clip=True)
    for clip, place in zip(clips, (1, 2, 0), strict=True):
        seed = clip.info.seed
        alone = model.generate(text="a brass band", chords="Am | F", duration=1.0, seed=seed)
        assert alone.audio.tobytes() == clip.audio.tobytes() and alone.info.request == clip.info.request
        assert torch.equal(clip.latents, together.latents[place])


def several(model: FlowMusic) -> list[Draw]:
    """Clips of three requests, two of them of nearly one length and of the same kinds of conditions."""
    asked = (
        Request(text="a brass band", chords="Am | F", duration=2.0, guidance="2; rescale=0.5"),
        Request(text="one bassoon", chords="C | G", duration=1.9, guidance="2; rescale=0.5"),
        Request(chords="C | G", duration=1.96, guidance="2; rescale=0.5"),
    )
    return [Draw(model.prepare(request), seed) for request in asked for seed in (1, 2)]


def test_clips_of_several_requests_in_one_batch_are_those_made_alone(
    model: FlowMusic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shorter ones are padded, and come out as they would alone, but for the last bits."""
    draws = several(model)
    assert sorted(map(sorted, batches(model.model, draws, 8))) == [[0, 1, 2, 3], [4, 5]]
    assert sorted(map(len, batches(model.model, draws, 3))) == [1, 2, 3]
    sizes = []

    def counted(model: Any, draws: list[Draw], *others: Any) -> Sampled:
        sizes.append(len(draws))
        return sample(model, draws, *others)

    monkeypatch.setattr("flowmusic.api.model.sample", counted)
    shares: list[float] = []
    together = FlowMusic(model.model, model.extractors, batch_size=8)
    clips = list(together.render_draws(draws, lambda _, done, total: shares.append(done / total)))
    assert sizes == [4, 2] and shares == sorted(shares) and shares[-1] == 1.0
    for draw, clip in zip(draws, clips, strict=True):
        (alone,) = model.render(draw.prepared, [draw.seed])
        assert clip.info.request == alone.info.request and clip.audio.shape == alone.audio.shape
        assert clip.info.condition_sets == alone.info.condition_sets
        torch.testing.assert_close(clip.latents, alone.latents, atol=2e-3, rtol=2e-3)


def test_edited_clips_are_batched_with_other_seeds_of_themselves_alone(model: FlowMusic) -> None:
    sound = Audio(np.random.default_rng(0).normal(0, 0.1, (1, 32_000)).astype(np.float32), 32_000)
    edits = [model.prepare(Request(context=sound, keep="0-0.5", duration=1.0)) for _ in range(2)]
    draws = [Draw(edit, seed) for edit in edits for seed in (1, 2)]
    assert sorted(map(sorted, batches(model.model, draws, 8))) == [[0, 1], [2, 3]]
    together = FlowMusic(model.model, model.extractors, batch_size=2).render(edits[0], [1, 2])
    for clip, alone in zip(together, model.render(edits[0], [1, 2]), strict=True):
        torch.testing.assert_close(clip.latents, alone.latents, atol=2e-3, rtol=2e-3)


def test_out_of_memory_halves_the_batch_and_loses_no_clip(
    model: FlowMusic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = []

    def small(model: Any, draws: list[Draw], *others: Any) -> Sampled:
        sizes.append(len(draws))
        if len(draws) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return sample(model, draws, *others)

    monkeypatch.setattr("flowmusic.api.model.sample", small)
    together = FlowMusic(model.model, model.extractors, batch_size=8)
    prepared = model.prepare(Request(chords="Am | F", duration=1.0))
    clips = together.render(prepared, range(7))
    assert [clip.info.seed for clip in clips] == list(range(7))
    assert sizes == [7, 4, 2, 2, 2, 1] and together.batch_size == 2
    assert "not enough memory for 7 clips at once: making 4" in caplog.text
    together.render(prepared, range(3))
    assert sizes[6:] == [2, 1]
    monkeypatch.setattr(
        "flowmusic.api.model.sample", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("one"))
    )
    with pytest.raises(torch.OutOfMemoryError, match="one"):
        together.render(prepared, [1])


def test_every_control_and_the_text_change_the_clip(model: FlowMusic) -> None:
    plain = model.generate(duration=1.0).audio
    for given in ({"text": "piano"}, {"drums": HITS}, {"melody": NOTES}, {"chords": CHART}):
        assert not np.array_equal(model.generate(duration=1.0, **given).audio, plain), given  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text must be a text that is not empty"):
        model.generate(duration=1.0, text="  ")


def test_precomputed_controls_stand_in_for_references(model: FlowMusic, tmp_path: Path) -> None:
    direct = model.generate(melody=NOTES, chords=CHART, duration=2.0)
    direct.controls.save(tmp_path / "controls.safetensors")
    loaded = Controls.load(tmp_path / "controls.safetensors")
    assert np.array_equal(model.generate(controls=loaded, duration=2.0).audio, direct.audio)
    both = model.generate(controls=loaded, chords="E", duration=2.0)
    assert torch.equal(both.controls.melody, direct.controls.melody)  # type: ignore[arg-type]
    assert both.controls.chords is not None and both.controls.chords[10].argmax() == 4


def test_default_duration_is_that_of_the_longest_reference(model: FlowMusic) -> None:
    assert model.generate().duration_s == 2.0  # the model's default
    assert model.generate(melody=NOTES, chords="C | G", bpm=240).duration_s == 2.0
    assert model.generate(chords=[ChordSegment(0, 90.0, "C:maj")], steps=1).duration_s == 30.0


def test_a_short_reference_is_absent_after_its_end_and_a_chart_loops(model: FlowMusic) -> None:
    looped = model.generate(melody=NOTES, chords="C | G", bpm=240, duration=4.0, steps=1).controls
    once = model.generate(chords="C | G", bpm=240, duration=4.0, loop_chords=False, steps=1).controls
    assert looped.mask("melody")[:100].all() and not looped.mask("melody")[100:].any()
    assert looped.mask("chords").all()
    assert once.mask("chords")[:100].all() and not once.mask("chords")[100:].any()


def test_a_control_is_absent_outside_of_its_span(model: FlowMusic) -> None:
    spans = {"melody": "0.5-1", "chords": "1-2"}
    notes = [*NOTES[:2], Note(1.2, 2.0, 67)]  # away from the border, over which controls are blurred
    clip = model.generate(melody=notes, chords="C | G", bpm=240, duration=2.0, spans=spans, steps=1)
    for name, first, end in (("melody", 25, 50), ("chords", 50, 100)):
        mask = clip.controls.mask(name)
        assert mask[first:end].all() and int(mask.sum()) == end - first
    assert clip.info.request.spans == spans
    # What lies outside says nothing: other notes there are the same clip.
    notes[2] = Note(1.2, 2.0, 72)
    same = model.generate(melody=notes, chords="C | G", bpm=240, duration=2.0, spans=spans, steps=1)
    assert np.array_equal(same.audio, clip.audio)
    notes[1] = Note(0.5, 1.0, 72)
    other = model.generate(melody=notes, chords="C | G", bpm=240, duration=2.0, spans=spans, steps=1)
    assert not np.array_equal(other.audio, clip.audio)
    with pytest.raises(ValueError, match="spans names drums, which is not followed; expected some of"):
        model.generate(chords="C", duration=2.0, spans={"drums": "0-1"})
    with pytest.raises(ValueError, match="spans: melody holds nothing from 5 to 6 s"):
        model.generate(melody=NOTES, duration=2.0, spans={"melody": "5-6"})


def test_save_writes_clip_and_sidecar(model: FlowMusic, tmp_path: Path) -> None:
    clip = model.generate(text="organ", chords=CHART, duration=1.0, seed=9)
    written = clip.save(tmp_path / "new" / "clip.flac")
    assert [path.name for path in written] == ["clip.flac", "clip.json"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"clip.flac", "clip.json"}
    assert np.abs(read_audio(written[0]).samples - clip.audio).max() < 1e-4
    sidecar = json.loads(written[1].read_text())
    assert sidecar["seed"] == 9 and sidecar["request"]["text"] == "organ"
    assert ClipInfo.load(written[1]) == clip.info
    assert sidecar["references"]["chords"]["name"] == CHART
    assert len(sidecar["model"]["fingerprint"]) == 16


def test_a_failing_save_leaves_nothing(
    model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Path:
        raise ValueError("no plot today")

    monkeypatch.setattr(Clip, "draw", fail)
    with pytest.raises(ValueError, match="no plot today"):
        model.generate(duration=1.0).save(tmp_path / "clip.wav", plot=True)
    assert list(tmp_path.iterdir()) == []


def test_save_pretrained_round_trip(model: FlowMusic, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "copy", card="# Copy\n")
    copy = FlowMusic.from_pretrained(folder)
    assert copy.model.flow.config == model.model.flow.config
    assert copy.model.defaults == model.model.defaults
    for (name, kept), (_, read) in zip(
        model.model.flow.state_dict().items(), copy.model.flow.state_dict().items(), strict=True
    ):
        assert torch.equal(kept, read), name  # what was read from 16 bits is written to them unchanged
    made, copied = (item.generate(duration=1.0, seed=1).audio for item in (model, copy))
    assert np.array_equal(made, copied)
    model.save_pretrained(folder)  # over a model: replaced
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]
    (folder / "take-1.wav").write_bytes(b"keep me")
    with pytest.raises(ValueError, match=r"holds take-1\.wav, which is no part of a model"):
        model.save_pretrained(folder)
    assert (folder / "take-1.wav").is_file() and (folder / "flow.safetensors").is_file()
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ValueError, match=r"not a model's folder .*format None"):
        model.save_pretrained(tmp_path / "encoder")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("keep me")
    with pytest.raises(ValueError, match="not a model's folder"):
        model.save_pretrained(tmp_path / "other")
    assert (tmp_path / "other" / "letter.txt").read_text() == "keep me"


def test_the_clip_never_clips(model: FlowMusic, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = model.model.codec.decode

    def too_loud(latents: torch.Tensor, generated: bool = False) -> torch.Tensor:
        sound = decode(latents)
        return 3.0 * sound / sound.abs().max()

    monkeypatch.setattr(model.model.codec, "decode", too_loud)
    clip = model.generate(duration=1.0)
    assert np.abs(clip.audio).max() == pytest.approx(0.95, abs=1e-4)
    assert clip.info.gain < 1


def test_resynthesise_keeps_the_length(model: FlowMusic) -> None:
    sound = Audio(np.random.default_rng(0).standard_normal((2, 44_100)).astype(np.float32) * 0.1, 44_100)
    back = model.resynthesise(sound)
    assert back.sample_rate == 32_000 and back.samples.shape == (1, 32_000)


def test_progress_reports_every_stage(model: FlowMusic) -> None:
    seen: list[tuple[str, int, int]] = []
    model.generate(chords=CHART, melody=NOTES, duration=1.0, progress=lambda *step: seen.append(step))
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages == ["extracting the melody", "extracting the chords", "extracting", "generating"]
    assert seen[-1] == ("generating", 100, 100)


def test_a_recording_is_separated_once_for_drums_and_melody(music: tuple[np.ndarray, int]) -> None:
    class Counting:
        """Keeps the 60 ms after each click, and counts how often it is asked."""

        version = "gate-1"
        calls = 0

        def separate(self, audio: Audio) -> Audio:
            self.calls += 1
            times_s = np.arange(audio.n_samples) / audio.sample_rate
            return Audio(audio.samples * (times_s % 0.5 < 0.06), audio.sample_rate)

    separator = Counting()
    controls = extract_controls(drums=music, melody=music, extractors=Extractors(separator))
    assert separator.calls == 1
    assert controls.given == ("drums", "melody") and controls.n_frames == 100
    assert controls.melody is not None
    # The line sings C5 (523 Hz, MIDI 72), then F5: bins 29 and 34 above G2.
    assert controls.melody[10:40].mean(0).argmax() == 29 and controls.melody[60:90].mean(0).argmax() == 34


def test_every_kind_of_recording_is_heard_alike(music: tuple[np.ndarray, int], music_file: Path) -> None:
    extractors = Extractors("none")
    from_file = extract_controls(melody=music_file, extractors=extractors)
    from_text = extract_controls(melody=str(music_file), extractors=extractors)
    from_array = extract_controls(melody=(music[0][0], music[1]), extractors=extractors)
    assert torch.equal(from_file.melody, from_text.melody)  # type: ignore[arg-type]
    assert (from_file.melody - from_array.melody).abs().max() < 0.05  # type: ignore[operator]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"solver": "leapfrog"}, "unknown solver 'leapfrog'"),
        ({"guidance": "loud"}, "guidance 'loud'"),
        ({"guidance": float("nan")}, "guidance"),
        ({"duration": -3.0}, "duration must be a number from 0.5 to 3600"),
        ({"duration": float("nan")}, "duration must be a number from 0.5 to 3600"),
        ({"chords": "Am | Q7"}, "bar 2"),
        ({"chords": []}, "hold no chords"),
        ({"melody": HITS}, "must be melody notes"),
        ({"drums": (np.zeros((1, 32_000)), 32_000)}, "drums reference is silent"),
        ({"melody": (np.full(32_000, np.nan), 32_000)}, "melody reference: the samples hold NaN"),
        ({"melody": (np.ones((8, 32_000)), 32_000)}, "8 channels"),
        ({"controls": Controls(10, 25.0)}, "expected 50"),
    ],
)
def test_bad_arguments_are_named(model: FlowMusic, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.generate(**given)


def test_the_plot_shows_what_is_heard_in_the_clip(model: FlowMusic, tmp_path: Path) -> None:
    class Gate:
        """Takes every other tenth of a second for drums: the plot needs something to be heard."""

        version = "gate-2"

        def separate(self, audio: Audio) -> Audio:
            times_s = np.arange(audio.n_samples) / audio.sample_rate
            return Audio(audio.samples * (times_s % 0.2 < 0.1), audio.sample_rate)

    clip = model.generate(drums=HITS, melody=NOTES, chords=CHART, duration=2.0, text="organ")
    written = clip.save(tmp_path / "clip.wav", plot=True, sidecar=False, extractors=Extractors(Gate()))
    assert [path.name for path in written] == ["clip.wav", "clip.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG") and written[1].stat().st_size > 20_000


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        ({"drums": HITS, "bpm": 100.0}, ["bpm"]),
        ({"melody": NOTES, "beats_per_bar": 3.0, "loop_chords": False}, ["beats_per_bar", "loop_chords"]),
        ({"song": 3}, ["song"]),
        ({"text": "jazz", "compose": False, "song": 3}, ["song"]),
        ({"text": "jazz", "chords": "C", "compose": True}, ["compose"]),
        ({"solver": "dopri5", "steps": 4}, ["steps"]),
        ({"chords": "C | G", "bpm": 100.0, "beats_per_bar": 3.0, "loop_chords": False, "steps": 2}, []),
        ({"text": "jazz", "bpm": 100.0, "song": 3, "compose": True}, []),
    ],
)
def test_options_without_effect_are_named(
    model: FlowMusic, caplog: pytest.LogCaptureFixture, options: dict[str, Any], unused: list[str]
) -> None:
    model.prepare(Request(**options, duration=1.0))
    assert [record.args[0] for record in caplog.records if "is not used" in record.message] == unused  # type: ignore[index]


def test_controls_that_the_model_does_not_know_are_refused_at_once(
    model: FlowMusic, music_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Extractors, "extract", lambda *_: pytest.fail("something was extracted"))
    with pytest.raises(
        ValueError, match=r"trained with drums, melody, chords; it knows no control 'dynamics'"
    ):
        model.generate(dynamics=music_file, text="rock")
    with pytest.raises(ValueError, match="unknown control 'density'; expected one of drums"):
        model.generate(references={"density": music_file})

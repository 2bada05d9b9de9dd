"""The codec and the drum separator: a few steps each, from sound files to exported weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import read_audio, write_audio
from features.separators import SmallDemucsSeparator
from flowmusic.cli import main
from flowmusic.codec.bands import BandStft, DecoderBand
from flowmusic.codec.files import read_codec, write_codec
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.composer.score import STEMS
from flowmusic.data.sound_data import SoundBatch
from flowmusic.training.base import Training
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.codec_module import DecoderTraining, chroma_error, chroma_filters, rise_error
from flowmusic.training.separator_module import separation_loss
from tests.training.conftest import assert_equal

RATE = 32_000

SOUND = """
seed_everything: 1
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 4
  default_root_dir: RUN
  val_check_interval: 2
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
checkpoint: {every_n_steps: 2, dirpath: "${trainer.default_root_dir}/checkpoints"}
"""

CODEC = """
model:
  class_path: flowmusic.training.codec_module.DecoderTraining
  init_args:
    config:
      latent_dim: 6
      decoder_width: 8
      decoder_depth: 1
      phase_iterations: 1
      stereo_components: 4
      decoder_bands: [{window: 1024, hop: 640, low_hz: 0.0, high_hz: 16000.0}]
      corrections: [{resolution: 1, raise_db: 0.0, cut_db: 20.0}]
      resolutions:
        - {window: 2560, low_hz: 100.0, high_hz: 6400.0, bands_per_octave: 4, subframes: 1}
        - {window: 512, low_hz: 200.0, high_hz: 12800.0, bands_per_octave: 1, subframes: 4}
    components_excerpts: 3
data:
  class_path: flowmusic.data.sound_data.SoundData
  init_args: {songs: SONGS, excerpt_s: 0.4, batch_size: 2, valid_batches: 1}
"""

SEPARATOR = """
model:
  class_path: flowmusic.training.separator_module.SeparatorTraining
  init_args:
    config: {channels: 4, depth: 3, window: 512}
data:
  class_path: flowmusic.data.sound_data.StemData
  init_args: {songs: SONGS, excerpt_s: 0.5, batch_size: 2, valid_batches: 1}
"""


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    rng = np.random.default_rng(0)
    for split, n in (("train", 3), ("valid", 1)):
        for index in range(n):
            song = folder / split / f"{index}"
            for number, stem in enumerate(STEMS):
                times_s = np.arange(RATE) / RATE
                tone = (
                    np.sin(2 * np.pi * 220 * (number + index + 1) * times_s) + rng.standard_normal(RATE) * 0.1
                )
                sides = np.outer([1.0, 0.2 + 0.3 * number], 0.2 * tone)
                write_audio(song / f"{stem}.wav", sides.astype(np.float32), RATE)
            (song / "song.json").write_text(json.dumps({"sample_rate": RATE}))
    return folder


def config(text: str, songs: Path, folder: Path) -> str:
    path = folder / "sound.yaml"
    path.write_text((SOUND + text).replace("SONGS", str(songs)).replace("RUN", str(folder / "run")))
    return str(path)


def predicted(path: str, folder: Path) -> dict[str, int]:
    """Samples of each file that `predict` writes."""
    assert main(["predict", "-c", path, "--ckpt_path", "last"]) == 0
    return {file.name: read_audio(file, RATE).n_samples for file in (folder / "run/predictions").iterdir()}


def test_a_codec_is_fitted_trained_resumed_and_exported(songs: Path, tmp_path: Path) -> None:
    path = config(CODEC, songs, tmp_path)
    assert main(["fit", "-c", path]) == 0
    last = tmp_path / "run/checkpoints/last.ckpt"
    first = read_checkpoint(last)["state_dict"]
    assert bool(first["codec.components"].any()) and bool(first["codec.image.components"].any())
    assert main(["fit", "-c", path, "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    second = read_checkpoint(last)["state_dict"]
    assert torch.equal(first["codec.components"], second["codec.components"])  # fitted once
    assert not torch.equal(first["net.leave.weight"], second["net.leave.weight"])
    assert predicted(path, tmp_path) == {f"{index:04d}-decoded.wav": round(0.4 * RATE) for index in range(2)}

    assert main(["export", str(last), str(tmp_path / "codec")]) == 0
    codec = read_codec(tmp_path / "codec")
    assert torch.allclose(
        codec.state_dict()["decoder.leave.weight"], second["ema.module.leave.weight"], atol=1e-3
    )
    latents = codec.encode(0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0)))
    assert codec.decode(latents).shape == (1, 2, RATE)


def test_a_codec_grows_refinement_and_learns_on(tmp_path: Path) -> None:
    config = SpectralCodecConfig(latent_dim=6, decoder_width=8, decoder_depth=1)
    torch.manual_seed(0)
    write_codec(SpectralCodec(config), tmp_path)
    low, high = config.decoder_bands
    refined_bands = (replace(low, refine_channels=4, refine_depth=1), high)
    grown = DecoderTraining(replace(config, decoder_bands=refined_bands), init_from=tmp_path)
    old = read_codec(tmp_path).state_dict()
    assert all(torch.equal(grown.codec.state_dict()[name], tensor) for name, tensor in old.items())
    batch = SoundBatch(0, 0.1 * torch.randn(2, 12_800))
    loss, _ = grown.loss(grown.net, batch, with_motion=True)
    loss.backward()
    refined = [p.grad for name, p in grown.net.named_parameters() if name.startswith("refine")]
    assert len(refined) == 9 and all(grad is not None for grad in refined)
    with pytest.raises(ValueError, match="its codec has another shape"):
        DecoderTraining(replace(config, decoder_width=16), init_from=tmp_path)


def test_a_separator_is_trained_and_exported(songs: Path, tmp_path: Path) -> None:
    path = config(SEPARATOR, songs, tmp_path)
    assert main(["fit", "-c", path]) == 0
    stems = [f"{index:04d}-{stem}.wav" for index in range(2) for stem in ("drums", "rest")]
    assert predicted(path, tmp_path) == dict.fromkeys(stems, round(0.5 * RATE))
    out = tmp_path / "separator"
    assert main(["export", str(tmp_path / "run/checkpoints/last.ckpt"), str(out)]) == 0
    from features.audio import Audio

    sound = Audio(np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32) * 0.1, RATE)
    stem = SmallDemucsSeparator(out / "drum_separator.safetensors").separate(sound)
    assert stem.n_samples == sound.n_samples and np.isfinite(stem.samples).all()


@pytest.mark.parametrize("text", [CODEC, SEPARATOR])
def test_a_broken_run_goes_on_bit_by_bit(
    text: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = ["fit", "-c", config(text, songs, tmp_path), "--trainer.max_steps", "6", "--ckpt_path", "last",
           "--trainer.default_root_dir"]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*fit, str(whole)]) == 0
    check_loss = Training.check_loss

    def broken_off(module: Training, loss: torch.Tensor) -> torch.Tensor:
        if module.global_step == 5:
            raise ValueError("one step after a checkpoint")
        return check_loss(module, loss)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "check_loss", broken_off)
        assert main([*fit, str(broken)]) == 1
    assert read_checkpoint(broken / "checkpoints/last.ckpt")["global_step"] == 4
    assert main([*fit, str(broken)]) == 0
    first, second = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (whole, broken))
    assert first["global_step"] == 6
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_equal(first[part], second[part], part)


def test_quiet_items_weigh_as_much_as_loud_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    stems = torch.randn(2, 2, 1, 800, generator=generator)
    wrong = stems + 0.3 * torch.randn(stems.shape, generator=generator)
    quiet = torch.tensor([1.0, 0.05])[:, None, None, None]
    torch.testing.assert_close(
        separation_loss(quiet * wrong, quiet * stems), separation_loss(wrong, stems), atol=1e-3, rtol=1e-3
    )
    assert float(separation_loss(stems, stems)) < float(separation_loss(wrong, stems))


@pytest.mark.parametrize("text", [CODEC, SEPARATOR])
@pytest.mark.parametrize(
    ("rate", "channels", "named"),
    [
        (44_100, 1, "mono at 44100 Hz; training expects mono or stereo sound at 32000 Hz"),
        (RATE, 3, "3 channels at 32000 Hz"),
    ],
)
def test_sound_of_another_kind_is_refused_before_training(
    text: str, rate: int, channels: int, named: str, songs: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(songs, tmp_path / "songs")
    odd = tmp_path / f"songs/train/1/{STEMS[-1]}.wav"
    write_audio(odd, np.zeros((channels, rate), dtype=np.float32), rate)
    assert main(["fit", "-c", config(text, tmp_path / "songs", tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(odd) in said and named in said and not (tmp_path / "run").exists()
    odd.write_text("no sound")
    assert main(["fit", "-c", config(text, tmp_path / "songs", tmp_path)]) == 2
    assert f"{odd} cannot be read as sound" in capsys.readouterr().err.strip().splitlines()[-1]


def test_no_sound_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train").mkdir()
    assert main(["fit", "-c", config(CODEC, tmp_path, tmp_path)]) == 2
    assert "holds neither rendered songs" in capsys.readouterr().err.strip().splitlines()[-1]


def test_chroma_error_counts_pitch_classes_not_levels() -> None:
    band = BandStft(DecoderBand(4096, 640, 0.0, 1550.0), 32_000)
    filters = chroma_filters(band, 32_000)
    times_s = torch.arange(32_000) / 32_000
    a, d_sharp = (
        band.log_magnitude(0.5 * torch.sin(2 * torch.pi * hz * times_s)[None], 40)[:, 8:32]
        for hz in (440.0, 622.25)
    )
    assert filters.shape == (band.n_bins, 12)
    assert int((10 ** (2 * a[0, 5]) @ filters).argmax()) == 9  # A, counted from C
    assert float(chroma_error(a - 0.5, a, filters)) < 1e-3, "the same chroma, 10 dB softer"
    assert float(chroma_error(d_sharp, a, filters)) > 0.1


def test_rise_error_is_of_strokes_not_of_levels() -> None:
    flat = torch.full((1, 40, 64), -2.0)
    stroke = flat.clone()
    stroke[:, 20:] = -1.0
    assert float(rise_error(flat + 0.4, flat)) < 1e-3
    assert float(rise_error(flat, stroke)) == pytest.approx(1.0 * (1 / 39 + 2 / 38 + 4 / 36) / 3, rel=0.01)
    assert float(rise_error(flat, stroke.flip(1))) < 1e-3, "a fall is no rise"

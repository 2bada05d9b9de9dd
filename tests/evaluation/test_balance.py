"""Text against style on makers whose answer is known: one that balances, one that ignores the scale."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from features.audio import Audio, write_audio
from features.cache import FeatureCache
from flowmusic.evaluation.balance import Bench, evaluate_balance, kind_of, main
from flowmusic.evaluation.balance_scores import (
    BalanceRow,
    Cell,
    choose_prompts,
    differs,
    grid,
    to_markdown,
    tradeoff_of,
)
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.musicnn import PATCH_HOP
from flowmusic.evaluation.probe import FAMILIES, Labels, Logistic, inputs_for, train_probe
from flowmusic.evaluation.prompts import Prompt, all_prompts
from flowmusic.evaluation.references import FoundReference
from flowmusic.evaluation.style import StyleSong, embed_songs
from flowmusic.evaluation.text_scores import ProbeListener
from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.schedule import Guidance

RATE, DURATION_S = 16_000, 2.0
BAND_HZ = 40.0
KINDS = list(FAMILIES)[:4]
BETAS = (0.0, 0.5, 1.0, 2.0)


def tones(*bands: int) -> np.ndarray:
    """A sine in the middle of each band, (S,)."""
    times_s = np.arange(round(DURATION_S * RATE)) / RATE
    waves = [np.sin(2 * np.pi * BAND_HZ * (band + 0.5) * times_s) for band in bands]
    return np.asarray(0.2 * np.sum(waves, axis=0), dtype=np.float32)


def style_of(k: int) -> Audio:
    """The timbre of song k; all songs have one band in common."""
    return Audio(tones(3, 20 + 7 * k, 110 + 5 * k)[None], RATE)


def sound_of(family: str) -> np.ndarray:
    """The timbre of an instrument family, which no song has."""
    k = list(FAMILIES).index(family)
    return tones(60 + 3 * k, 150 + 4 * k)


class BandStore(EmbeddingStore):
    """An embedding that is known: the level of 200 bands."""

    def embed(self, audio: Audio, hop: int = PATCH_HOP) -> np.ndarray:
        levels = np.abs(np.fft.rfft(audio.mono())) / audio.n_samples
        width = round(BAND_HZ * audio.n_samples / audio.sample_rate)
        return np.asarray(levels[: 200 * width].reshape(200, width).sum(axis=1)[None])


@dataclass
class Mixer:
    """Moves from the style's timbre to the prompt's as beta grows, or stays between; knows what it made."""

    hears_beta: bool
    made: list[tuple[str, str]] = field(default_factory=list)

    def make(self, style: Audio, text: str, guidance: str, duration_s: float, seed: int) -> Audio:
        self.made.append((text, guidance))
        spec = Guidance.parse(guidance).spans[0].spec
        beta = next(beta for beta in BETAS if spec == GuidanceSpec.double(3, beta))
        share = beta / (1 + beta) if self.hears_beta else 0.5
        prompt = next(prompt for prompt in all_prompts() if prompt.text == text)
        (family,) = (name for name, asked in prompt.asks.items() if asked)
        return Audio((1 - share) * style.samples + share * sound_of(family), RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return audio


@pytest.fixture
def extractors(tmp_path: Path) -> ProbeListener:
    cache = FeatureCache(tmp_path / "extracted")
    return ProbeListener(BandStore(cache), cache)


@pytest.fixture
def bench(extractors: ProbeListener, tmp_path: Path) -> Bench:
    songs = [StyleSong(f"s{k}", style_of(k), style_of(k)) for k in range(4)]
    prompts = choose_prompts([dict.fromkeys(FAMILIES, False)] * 4)
    styles = embed_songs(songs, Mixer(True), extractors.store)
    return Bench(songs, prompts, styles, probes_of(extractors), extractors, tmp_path / "out")


def probes_of(extractors: ProbeListener) -> dict[str, Logistic]:
    """Learnt from mixes of each family's timbre with those of songs."""
    rng = np.random.default_rng(0)
    inputs, families = [], []
    for i in range(64):
        family, share = list(FAMILIES)[i % 8], rng.uniform(0.2, 1)
        samples = share * sound_of(family) + (1 - share) * style_of(int(rng.integers(4))).samples[0]
        patches = extractors.store.embed(Audio(samples[None].astype(np.float32), RATE))
        inputs.append(inputs_for(family, {"timbre": np.concatenate([patches[0], patches[0]])}))
        families.append(family)
    return {
        name: train_probe(np.stack(inputs), np.array([family == name for family in families]))
        for name in KINDS
    }


def evaluate(maker: Mixer, bench: Bench) -> list[BalanceRow]:
    return evaluate_balance(grid([3.0], BETAS), maker, bench, "heading", {"settings": {}})


def test_a_maker_that_balances_gives_a_monotone_tradeoff(bench: Bench) -> None:
    rows = evaluate(Mixer(hears_beta=True), bench)
    assert [row.beta for row in rows] == list(BETAS) and {row.n for row in rows} == {4}
    moved = tradeoff_of(rows)
    assert moved.steps == moved.similarity_falls == moved.text_rises == 3
    first, last = rows[0], rows[-1]
    assert first.similarity == pytest.approx(first.ceiling, abs=0.01) and first.share_closed is not None
    assert last.similarity < 0.8 * first.similarity
    # At beta 0 nothing tells the prompts apart; at the end they are as the probe learnt them.
    assert abs(first.difference) < 0.1 and last.difference > 0.5 and last.auc == 1.0
    assert first.attributes == tuple(KINDS)


def test_a_maker_that_ignores_beta_gives_a_flat_one(bench: Bench) -> None:
    rows = evaluate(Mixer(hears_beta=False), bench)
    assert len({(row.similarity, row.floor, row.difference, row.auc) for row in rows}) == 1
    moved = tradeoff_of(rows)
    assert (moved.similarity_falls, moved.text_rises) == (0, 0)
    assert "falls in 0 of 3 steps" in to_markdown(rows, "heading")


def test_clips_are_kept_and_betas_can_be_added(bench: Bench) -> None:
    few = Mixer(hears_beta=True)
    evaluate_balance(grid([3.0], [0.0, 2.0]), few, bench, "heading", {"settings": {"seed": 0}})
    assert few.made == [(p.text, f"double:3,{beta}") for beta in (0, 2) for p in bench.prompts]
    more = Mixer(hears_beta=True)
    rows = evaluate(more, bench)
    assert {guidance for _, guidance in more.made} == {"double:3,0.5", "double:3,1"}
    assert evaluate(Mixer(hears_beta=True), bench) == rows
    assert (bench.out / "balance.md").read_text().startswith("heading\n\n| α")
    assert (bench.out / "balance.png").read_bytes().startswith(b"\x89PNG")
    values = json.loads((bench.out / "balance.json").read_text())
    assert len(values["rows"]) == 4 and values["prompts"]["s0"] == bench.prompts[0].text
    assert values["tradeoff"] == {"steps": 3, "similarity_falls": 3, "text_rises": 3}


def test_prompts_ask_for_what_a_song_is_not() -> None:
    piano: Labels = {"piano": True, "organ": False, "drums": True, "fast": None, "minor": False}
    everything: Labels = {**dict.fromkeys(FAMILIES, True), "drums": True, "fast": True, "minor": True}
    kinds = [piano, everything, piano]
    chosen = choose_prompts(kinds)
    assert all(differs(prompt, kind) for prompt, kind in zip(chosen, kinds, strict=True))
    assert len({prompt.text for prompt in chosen}) == 3 and chosen[1].asks == {"drums": False}
    assert differs(Prompt("", {"fast": True}), piano) and not differs(Prompt("", {"minor": False}), piano)
    assert len({prompt.text for prompt in choose_prompts([{}] * 60)}) == 56


def test_a_song_without_labels_is_what_the_probe_hears(bench: Bench, tmp_path: Path) -> None:
    sound = Audio(sound_of("mallets")[None], RATE)
    reference = FoundReference("song", write_audio(tmp_path / "song.wav", sound.samples, RATE))
    kind = kind_of(reference, StyleSong("song", sound, sound), bench.probes, bench.extractors)
    assert [name for name, is_it in kind.items() if is_it] == ["mallets"]


def test_guidance_of_a_cell_is_double() -> None:
    assert Guidance.parse(Cell(1.5, 0.5).guidance()).spans[0].spec == GuidanceSpec.double(1.5, 0.5)
    assert Guidance.parse(Cell(3, 2).guidance(0.5)).rescale == 0.5
    assert [cell.name for cell in grid([3, 1.5], [0])] == ["alpha-1.5-beta-0", "alpha-3-beta-0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--alphas", "x"], "--alphas must be finite numbers separated by commas, got 'x'"),
        (["--betas", "0,nan"], "--betas must be finite numbers"),
        (["--betas=-1"], "--betas must be finite numbers of at least 0"),
        (["--alphas", "0"], "--alphas must be finite numbers above 0"),
        (["--betas", "1,1.0"], "--betas must be numbers that differ"),
        (["--n", "3"], "expected songs from 4 to"),
        (["--rescale", "2"], "expected a share 0 to 1"),
        (["--excerpt", "9"], "expected seconds 1.5 to 4.5"),
        ([], "does not exist; expected a sound file"),
    ],
)
def test_bad_numbers_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(SystemExit):
        main(["--references", nowhere, "--probe", nowhere, "--out", str(tmp_path / "out"), *words])
    assert said in " ".join(capsys.readouterr().err.split())

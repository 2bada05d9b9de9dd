"""Training data of the flow: excerpts of prepared songs with their conditions, some of them hidden."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.frames import CONTROL_FRAME_RATE
from flowmusic.conditioning.augment import ControlErrors, disturb
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.dropout import DropoutRates, context_masks, drop_conditions
from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.style_encoder import StyleFeatures, pad_features
from flowmusic.conditioning.text import TextTokens
from flowmusic.data.order import EpochOrder, Excerpt, Place, generator_of, seed_of, split_shards
from flowmusic.data.shards import CODEC_FOLDER, DataInfo, ShardReader, Slices, read_listing, shard_files
from flowmusic.data.stepped import SteppedData
from flowmusic.data.style_excerpts import draw_style_pair, style_features
from flowmusic.lm.config import LmConfig
from flowmusic.model.config import FlowConfig

EXTRACTED_SHARE_OF_CONTROLS = 0.8
LEAKY_SHARE = 0.5
"""Shares of extracted controls, where an excerpt has exact ones too, and of true drum stems with a leak."""

EVERYTHING_GIVEN = DropoutRates(everything=0, controls=0, each=0, text=0, style=0, span=0, no_context=1)
_TRAIN, _VALID = 17, 29  # so that no two purposes share their random numbers


@dataclass(frozen=True)
class FlowBatch:
    """x_1 (B, T, D), all conditions of the model, and the seeds of what training still draws.

    `seeds` holds one for each stream; the streams have equal parts of the batch, in this order.
    known (B, T) bool: latents that are given as context, and do not count in the loss.
    style: None, or features of 2 B excerpts: B of other parts of the songs than x_1, which cannot be copied,
    and B within x_1, only to be compared with the first. style_kept (B,) bool: False where it is hidden.
    """

    number: int
    x_1: Tensor
    condition: Condition
    known: Tensor
    seeds: tuple[int, ...]
    style: StyleFeatures | None
    style_kept: Tensor

    @property
    def size(self) -> int:
        return self.x_1.shape[0]

    def to(self, device: torch.device) -> FlowBatch:
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> FlowBatch:
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> FlowBatch:
        return replace(
            self,
            x_1=function(self.x_1),
            condition=self.condition.map(function),
            known=function(self.known),
            style=self.style and StyleFeatures(function(self.style.values), function(self.style.mask)),
            style_kept=function(self.style_kept),
        )

    @staticmethod
    def cat(parts: Sequence[FlowBatch]) -> FlowBatch:
        """Join the shares of several streams."""
        return FlowBatch(
            parts[0].number,
            torch.cat([part.x_1 for part in parts]),
            Condition.cat([part.condition for part in parts]),
            torch.cat([part.known for part in parts]),
            tuple(seed for part in parts for seed in part.seeds),
            _cat_pairs([part.style for part in parts if part.style is not None]),
            torch.cat([part.style_kept for part in parts]),
        )


class FlowData(SteppedData):
    """Batches for `FlowTraining` out of a folder that `flowmusic prepare` wrote.

    A split with fewer excerpts than a batch gives some of them more than once in a batch.

    folder          with train/ and valid/ (and test/)
    excerpt_frames  latent frames T of an excerpt
    config          shape of the model: linked to it, and checked against the data
    extracted_share share of excerpts drawn from the parts of songs whose controls were extracted. 0 draws all
                    parts alike; needed where the controls of labelled songs were extracted in part
    dropout         what is hidden from the model
    errors          how controls are disturbed
    """

    def __init__(
        self,
        folder: Path,
        config: FlowConfig | LmConfig,
        batch_size: int = 12,
        excerpt_frames: int = 200,
        seed: int = 0,
        streams: int | None = None,
        workers: int = 0,
        valid_batches: int = 4,
        extracted_share: float = 0.0,
        dropout: DropoutRates | None = None,
        errors: ControlErrors | None = None,
    ) -> None:
        super().__init__(batch_size, seed, streams, workers, valid_batches)
        if not 0 <= extracted_share <= 1:
            raise ValueError(f"data: extracted_share must be from 0 to 1, got {extracted_share}")
        self.folder, self.excerpt_frames, self.extracted_share = Path(folder), excerpt_frames, extracted_share
        self.config = config
        self.dropout, self.errors = dropout or DropoutRates(), errors or ControlErrors()
        self._reader = ShardReader()
        self._orders: dict[tuple[str, int, bool], EpochOrder] = {}

    @property
    def codec_folder(self) -> Path:
        """The codec that the latents were made with."""
        return self.folder / CODEC_FOLDER

    def describe(self) -> dict[str, Any]:
        info = DataInfo.load(self.folder)
        return {
            "folder": str(self.folder),
            "codec": str(self.codec_folder),
            "text_encoder": info.text_encoder,
        }

    def open_split(self, split: str) -> None:
        info = DataInfo.load(self.folder)
        check_fit(info, self.folder, self.config)
        shards = [(path, read_listing(path)) for path in shard_files(self.folder, split)]
        if not shards:
            raise ValueError(f"{self.folder / split} holds no prepared music: run flowmusic prepare")
        # In training every stream has shards of its own; of the little that is held out all see all.
        sizes = [sum(song.n_frames for song in songs) for _, songs in shards]
        parts = split_shards(sizes, self.streams) if split == "train" else [list(range(len(shards)))]
        for stream, indices in enumerate(parts):
            places = [Place(shards[i][0], song) for i in indices for song in shards[i][1]]
            self._open_stream(split, stream, places)
            if not self._orders[split, stream, False].n_excerpts:
                longest = max((place.song.n_frames for place in places), default=0) / info.frame_rate
                raise ValueError(
                    f"{self.folder / split} gives no excerpt of {self.excerpt_frames / info.frame_rate:g} s "
                    f"({self.excerpt_frames} latent frames): its longest song has {longest:.1f} s; prepare "
                    "longer music, or lower data.init_args.excerpt_frames"
                )

    def n_excerpts(self, split: str) -> int:
        """How many excerpts that do not overlap an opened split gives, over all streams."""
        return sum(
            order.n_excerpts
            for (name, _, extracted), order in self._orders.items()
            if name == split and not extracted
        )

    def _open_stream(self, split: str, stream: int, places: list[Place]) -> None:
        """The orders of all parts of its songs, and of the parts whose controls were extracted."""
        fold, purpose = self.config.control_fold, _TRAIN if split == "train" else _VALID
        for extracted in (False, True):
            lengths = [p.song.extracted_frames // fold if extracted else p.song.n_frames for p in places]
            seed = seed_of(self.seed, stream, int(extracted), purpose)
            self._orders[split, stream, extracted] = EpochOrder(places, lengths, self.excerpt_frames, seed)

    def draw_batch(self, split: str, number: int, streams: list[int]) -> FlowBatch:
        size = self.batch_size // len(streams)
        return FlowBatch.cat([self._draw_part(split, number, stream, size) for stream in streams])

    def _draw_part(self, split: str, number: int, stream: int, size: int) -> FlowBatch:
        """The share of one stream in a batch."""
        training = split == "train"
        purpose = _TRAIN if training else _VALID
        generator = generator_of(self.seed, purpose, stream, number)
        items = [
            self._read(excerpt, from_extracted, generator)
            for excerpt, from_extracted in self._excerpts(split, number, stream, size)
        ]
        x_1, condition = self._collate(items)
        rates = self.dropout if training else EVERYTHING_GIVEN
        if training:
            condition = disturb(condition, self.errors, generator, CONTROL_FRAME_RATE)
        # style tokens are made by the model: one in their place tells whether they are hidden
        stand_in = torch.zeros(size, 1, self.config.style_dim)
        condition = condition.with_tokens(style=StyleTokens(stand_in, torch.ones(size, 1, dtype=torch.bool)))
        condition = drop_conditions(condition, rates, generator)
        kept = condition.mask("style")[:, 0]
        condition = condition.with_tokens(style=StyleTokens.null(size, self.config.style_dim))
        known = context_masks(size, self.excerpt_frames, rates, generator)
        seed = seed_of(self.seed, purpose, stream, number, 1)
        style = None
        if self.config.style is not None:
            style = pad_features([item[key] for key in ("style", "style_within") for item in items])
        return FlowBatch(number, x_1, condition.with_context(x_1, known), known, (seed,), style, kept)

    def _excerpts(self, split: str, number: int, stream: int, size: int) -> list[tuple[Excerpt, bool]]:
        """Excerpts of a batch, and whether their controls may be extracted ones."""
        if split != "train":  # the streams take turns
            order = self._orders[split, 0, False]
            return [(excerpt, False) for excerpt in order.batch(number * self.streams + stream, size)]
        anywhere, extracted = self._orders[split, stream, False], self._orders[split, stream, True]
        n_extracted = round(size * self.extracted_share) if extracted.n_excerpts else 0
        chosen = [(excerpt, True) for excerpt in extracted.batch(number, n_extracted)]
        return chosen + [(excerpt, False) for excerpt in anywhere.batch(number, size - n_extracted)]

    def _read(self, excerpt: Excerpt, from_extracted: bool, generator: torch.Generator) -> dict[str, Tensor]:
        """Latents, those controls that are there, and a caption's states."""
        song = self._reader.song(excerpt.place.shard, excerpt.place.song.key)
        span = slice(excerpt.start, excerpt.start + self.excerpt_frames)
        fast = slice(span.start * self.config.control_fold, span.stop * self.config.control_fold)
        names = self.config.controls
        *draws, text_draw = torch.rand(len(names) + 1, generator=generator).tolist()
        item = {"latents": song["latents"][span].float()}
        for name, draw in zip(names, draws, strict=True):
            key = _which(song, name, from_extracted, draw, fast.stop)
            if key is not None:
                item[name] = song[key][fast].float() / 255.0
        item["text"] = _caption(song, text_draw)
        if self.config.style is not None:
            features = style_features(song, self.config.style, excerpt.place.song.name)
            item["style"], item["style_within"] = draw_style_pair(
                features,
                excerpt.place.song.n_frames,
                excerpt.start,
                self.excerpt_frames,
                self.config.style,
                generator,
            )
        return item

    def _collate(self, items: list[dict[str, Tensor]]) -> tuple[Tensor, Condition]:
        x_1 = torch.stack([item["latents"] for item in items])  # (B, T, D)
        condition = Condition.null(len(items), self.excerpt_frames, self.config.condition_shape)
        fields: dict[str, Tensor] = {}
        for name in condition.controls:
            empty = condition.get(name)[0]
            fields[name] = torch.stack([item.get(name, empty) for item in items])
            given = torch.tensor([name in item for item in items])
            fields[f"{name}_mask"] = given[:, None].expand(-1, empty.shape[0]).clone()
        text = TextTokens.of_prompts([item["text"] for item in items], self.config.text_dim)
        return x_1, condition.having(**fields).with_tokens(text)


def _cat_pairs(pairs: Sequence[StyleFeatures]) -> StyleFeatures | None:
    """Joined so that all first excerpts come before all second ones."""
    halves = [pair.mask.shape[0] // 2 for pair in pairs]
    first = [pair.values[i][pair.mask[i]] for pair, n in zip(pairs, halves, strict=True) for i in range(n)]
    second = [
        pair.values[i][pair.mask[i]] for pair, n in zip(pairs, halves, strict=True) for i in range(n, 2 * n)
    ]
    return pad_features(first + second) if pairs else None


def _which(song: Mapping[str, Slices], name: str, from_extracted: bool, draw: float, end: int) -> str | None:
    """The key of a control: extracted, exact, or exact with a leak; None where it is absent."""
    extracted = (
        f"extracted_{name}"
        if f"extracted_{name}" in song and song[f"extracted_{name}"].shape[0] >= end
        else None
    )
    if name not in song:
        return extracted
    if extracted and from_extracted and draw < EXTRACTED_SHARE_OF_CONTROLS:
        return extracted
    return "leaky_drums" if name == "drums" and "leaky_drums" in song and draw < LEAKY_SHARE else name


def _caption(song: Mapping[str, Slices], draw: float) -> Tensor:
    """States (L, E) of one of the song's captions; none where it has no caption."""
    lengths = song["text_lengths"][:].long()
    if not len(lengths):
        return song["text"][0:0].float()
    index = int(draw * len(lengths))
    start = int(lengths[:index].sum())
    return song["text"][start : start + int(lengths[index])].float()


def check_fit(info: DataInfo, folder: Path, config: FlowConfig | LmConfig) -> None:
    """ValueError where data and model do not fit together."""
    for what, found, wanted in (
        ("latent channels", info.latent_dim, config.latent_dim),
        ("channels of text states", info.text_dim, config.text_dim),
    ):
        if found != wanted:
            raise ValueError(f"the data in {folder} have {found} {what}, the model expects {wanted}")
    if abs(info.frame_rate * config.control_fold - info.control_rate) > 1e-6:
        raise ValueError(
            f"the data in {folder} have {info.frame_rate:g} latent frames and {info.control_rate:g} control "
            f"frames a second, the model expects {config.control_fold} control frames for each latent frame"
        )

"""Codecs from their plain description, whatever their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowmusic.codec.encodec import ENCODEC, EncodecLatents, EncodecLatentsConfig
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig

AnyCodec = SpectralCodec | EncodecLatents


def build_codec(values: Mapping[str, Any]) -> AnyCodec:
    """What `codec.config.to_dict()` describes, weights yet to be read. ValueError for unknown settings."""
    if values.get("kind") == ENCODEC:
        return EncodecLatents(EncodecLatentsConfig.from_dict(dict(values)))
    return SpectralCodec(SpectralCodecConfig.from_dict(dict(values)))

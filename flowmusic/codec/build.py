"""Codecs from their plain description, whatever their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.registry import Registry
from flowmusic.codec.protocol import CodecModule

AnyCodec = CodecModule

CODECS: Registry[type[CodecModule]] = Registry(
    "codecs",
    "kind of codec",
    {
        "spectral": "flowmusic.codec.spectral:SpectralCodec",
        "encodec": "flowmusic.codec.encodec:EncodecLatents",
    },
)


def build_codec(values: Mapping[str, Any]) -> CodecModule:
    """The codec that `codec.config.to_dict()` describes, weights yet to be read.

    Its "kind" is a name in `CODECS`; a description without one is of the bundled model's kind. ValueError
    for an unknown kind or unknown settings.
    """
    return CODECS.get(str(values.get("kind", "spectral"))).from_dict(values)

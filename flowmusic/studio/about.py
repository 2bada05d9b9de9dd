"""What a page has to know before anything else: the model and what it can do, the schema, presets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flowmusic import __version__
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import OF_A_FLOW, OF_A_LANGUAGE_MODEL, Request
from flowmusic.studio.presets import PRESETS
from flowmusic.studio.session import MAX_STRENGTH

_STYLE = ("style", "style_codebooks", "style_excerpt")


def about(model: FlowMusic) -> dict[str, Any]:
    """Plain data; `lacks` names the fields of a request that the model does not have."""
    pretrained, limits = model.model, model.limits
    has_style = pretrained.network.style is not None
    lacks = [*(OF_A_FLOW if limits.draws_tokens else OF_A_LANGUAGE_MODEL), *(() if has_style else _STYLE)]
    return {
        "version": __version__,
        "model": {
            "name": pretrained.name,
            "kind": "language model" if limits.draws_tokens else "flow",
            "defaults": asdict(pretrained.defaults),
            "controls": list(limits.shape.controls),
            "style": has_style,
            "lacks": lacks,
            "sample_rate": model.sample_rate,
        },
        "schema": Request.model_json_schema(),
        "presets": [_for_model(preset, lacks) for preset in PRESETS],
        "max_strength": MAX_STRENGTH,
    }


def _for_model(preset: dict[str, Any], lacks: list[str]) -> dict[str, Any]:
    session = preset["session"]
    request = {name: value for name, value in session["request"].items() if name not in lacks}
    return preset | {"session": session | {"request": request}}

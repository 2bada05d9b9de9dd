"""Going on from a run without style as one with style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from flowmusic.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.ema import Ema


def extend_training_state(
    folder: Path, model: FlowTransformer, optimiser: torch.optim.Optimizer, ema: Ema
) -> int:
    """Take weights, averages and the optimiser's state over from the run in `folder`; returns its step.

    What makes style, and the summary of tokens, start fresh; everything else must be there, or it is a
    ValueError. `optimiser` holds the parameters of `model` in their order, in one group.
    """
    state_file, shape_file = folder / "state.pt", folder / "flow.json"
    for path in (state_file, shape_file):
        if not path.is_file():
            raise ValueError(f"{folder} is not the folder of a run: it has no {path.name}")
    config = FlowConfig.from_json(shape_file.read_text(), str(shape_file))
    bare = replace(model.config, style=None, token_summary=False)
    if model.config.style is None or config not in (bare, replace(bare, token_summary=True)):
        raise ValueError(
            f"{folder} holds a run of {config}; "
            f"expected the shape of the new one without its style: {model.config}"
        )
    state = torch.load(state_file, map_location="cpu", weights_only=True)
    kept = set(FlowTransformer(config).state_dict())
    fresh = set(model.state_dict()) - kept
    wrong = sorted(set(state["model"]) ^ kept)
    if wrong:
        raise ValueError(f"{state_file} does not fit {shape_file.name} beside it at {wrong[0]!r}")
    model.load_state_dict(state["model"], strict=False)
    old = [name for name, _ in FlowTransformer(config).named_parameters()]
    _extend_optimiser(optimiser, state["optimiser"], old, model)
    step = int(state["step"])
    ema.shadow = {name: tensor.clone() for name, tensor in model.state_dict().items()} | state["ema"]
    ema.updates, ema.joined = step, dict.fromkeys(sorted(fresh), step)
    return step


def _extend_optimiser(
    optimiser: torch.optim.Optimizer, old: dict[str, object], old_names: list[str], model: FlowTransformer
) -> None:
    """The state of each old parameter goes to the parameter of its name; the others have none yet."""
    index = {name: number for number, (name, _) in enumerate(model.named_parameters())}
    moments = old["state"]
    if not isinstance(moments, dict) or not set(moments) <= set(range(len(old_names))):
        raise ValueError("the optimiser's state does not fit the old model: expected one entry per parameter")
    new = optimiser.state_dict()
    new["state"] = {index[old_names[number]]: values for number, values in moments.items()}
    optimiser.load_state_dict(new)

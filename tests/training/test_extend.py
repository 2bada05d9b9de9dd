"""Going on with style from a run without: nothing that was learned is lost, nothing is silently left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flowmusic.config import FlowConfig, StyleConfig
from flowmusic.model.condition import Condition
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.checkpoint import load_training_state, save_training_state
from flowmusic.training.ema import Ema
from flowmusic.training.extend import extend_training_state

OLD = FlowConfig(latent_dim=6, width=16, depth=2, heads=2, text_dim=5, style_dim=8, time_channels=16)
NEW = replace(OLD, token_summary=True, style=StyleConfig(feature_dim=6, depth=1, heads=2, books=2, codes=8))
Parts = tuple[FlowTransformer, torch.optim.Optimizer, Ema]


def parts(config: FlowConfig) -> Parts:
    torch.manual_seed(0)
    model = FlowTransformer(config)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), Ema(model, 0.9)


def velocity(model: FlowTransformer) -> torch.Tensor:
    x_t = torch.randn(2, 10, 6, generator=torch.Generator().manual_seed(1))
    out: torch.Tensor = model(x_t, torch.tensor([0.2, 0.7]), Condition.null(2, 10, model.config))
    return out


def old_run(folder: Path) -> Parts:
    model, optimiser, ema = parts(OLD)
    for _ in range(5):
        optimiser.zero_grad()
        (velocity(model) - 1).square().mean().backward()
        optimiser.step()
        ema.update(model)
    save_training_state(folder / "state.pt", model, optimiser, ema, step=5)
    (folder / "flow.json").write_text(OLD.to_json())
    return model, optimiser, ema


def test_weights_averages_and_moments_carry_over(tmp_path: Path) -> None:
    old, new = old_run(tmp_path), parts(NEW)
    assert extend_training_state(tmp_path, *new) == 5
    torch.testing.assert_close(velocity(new[0]), velocity(old[0]))
    for name, tensor in old[2].shadow.items():
        assert torch.equal(new[2].shadow[name], tensor)
    named = dict(new[0].named_parameters())
    for name, parameter in old[0].named_parameters():
        moments, carried = old[1].state[parameter], new[1].state[named[name]]
        assert moments.keys() == carried.keys()
        assert all(torch.equal(moments[key], carried[key]) for key in moments)
    fresh = [name for name in named if name.startswith(("style.", "summary."))]
    assert fresh and not [name for name in fresh if named[name] in new[1].state]


def test_the_average_of_what_came_late_forgets_its_start_at_once(tmp_path: Path) -> None:
    old_run(tmp_path)
    model, optimiser, ema = parts(NEW)
    extend_training_state(tmp_path, model, optimiser, ema)
    ema.updates, ema.decay = 10_000, 0.999
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    late, early = "summary.nulls.text", "project_out.bias"
    ema.joined = dict.fromkeys(ema.joined, 10_000)
    before = {name: ema.shadow[name].clone() for name in (late, early)}
    ema.update(model)
    assert float((ema.shadow[late] - before[late]).mean()) > 0.5
    assert float((ema.shadow[early] - before[early]).mean()) < 0.1
    save_training_state(tmp_path / "new.pt", model, optimiser, ema, step=10_001)
    again = parts(NEW)
    load_training_state(tmp_path / "new.pt", *again)
    assert again[2].joined == ema.joined


def test_runs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not the folder of a run: it has no state\.pt"):
        extend_training_state(tmp_path, *parts(NEW))
    old_run(tmp_path)
    with pytest.raises(ValueError, match="expected the shape of the new one without its style"):
        extend_training_state(tmp_path, *parts(replace(NEW, depth=3)))
    with pytest.raises(ValueError, match="expected the shape"):
        extend_training_state(tmp_path, *parts(OLD))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["model"]["project_out.bias"]
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"does not fit flow\.json beside it at 'project_out\.bias'"):
        extend_training_state(tmp_path, *parts(NEW))

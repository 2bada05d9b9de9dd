"""A model with a control beside drums, melody and chords: trained a step, stored, and generated with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from features.controls import CONTROL_NAMES, Controls
from flowmusic import FlowMusic
from flowmusic.api.pretrained import GenerationDefaults, Pretrained, load_pretrained, save_pretrained
from flowmusic.codec.build import build_codec
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.dropout import DropoutRates, drop_conditions
from flowmusic.flow.path import cfm_loss
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

CONTROLS = (*CONTROL_NAMES, "dynamics")
CONFIG = FlowConfig(
    latent_dim=8, width=32, depth=1, heads=2, style_dim=8, time_channels=16, controls=CONTROLS
)


def curve(n_frames: int) -> Controls:
    return Controls(n_frames, dynamics=torch.linspace(0, 1, n_frames)[:, None])


def trained() -> FlowTransformer:
    """A model after a step in which some items have the curve and others do not."""
    torch.manual_seed(0)
    net = FlowTransformer(CONFIG)
    torch.nn.init.normal_(net.project_out.weight, std=0.1)  # zero at the start of training
    generator = torch.Generator().manual_seed(0)
    condition = Condition.from_controls([curve(40)] * 8, CONFIG.condition_shape)
    rates = DropoutRates(everything=0, controls=0, by_control={"dynamics": 0.5})
    condition = drop_conditions(condition, rates, generator)
    given = condition.mask("dynamics").any(dim=1)
    assert 0 < int(given.sum()) < 8
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    x_1 = torch.randn(8, 20, 8, generator=generator)
    cfm_loss(partial(net.velocity, prepared=net.prepare(condition)), x_1, generator).loss.backward()
    optimiser.step()
    assert net.temporal.nulls["dynamics"].detach().abs().min() > 0
    assert net.temporal.project.weight.shape[1] == 2 * (4 + 53 + 37 + 1 + 4) + 8 + 1
    return net


def test_it_trains_is_stored_and_generates(tmp_path: Path) -> None:
    settings = {"latent_dim": 8, "decoder_width": 16, "decoder_depth": 1, "phase_iterations": 1}
    codec = build_codec(settings)
    defaults = GenerationDefaults(steps=2, guidance="dynamics=2", duration_s=1.0)
    flow = trained().eval()
    save_pretrained(Pretrained("dynamic", "", codec, flow, defaults), tmp_path / "dynamic", card="# A\n")
    model = FlowMusic.from_pretrained(tmp_path / "dynamic")
    assert model.model.flow.config == CONFIG
    clip = model.generate(controls=curve(50), duration=1.0, chords="Am")
    assert clip.controls.given == ("chords", "dynamics")
    other = model.generate(controls=curve(50).having(dynamics=torch.zeros(50, 1)), duration=1.0, chords="Am")
    assert not torch.equal(torch.as_tensor(clip.latents), torch.as_tensor(other.latents))


def test_a_model_that_was_not_trained_with_it_refuses_it(tiny_model: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"^the model was trained with drums, melody, chords; it knows no control 'dynamics'$",
    ):
        FlowMusic.from_pretrained(tiny_model).generate(controls=curve(50), duration=1.0)
    shape = load_pretrained().flow.config.condition_shape
    assert shape.controls == CONTROL_NAMES
    with pytest.raises(ValueError, match="knows no control 'dynamics'"):
        Condition.from_controls([curve(50)], shape)


def test_the_names_of_controls_are_checked_and_never_imported() -> None:
    for names in (["drums", "os:system"], ["drums", "bass"]):
        with pytest.raises(ValueError, match=r"unknown control '.*'; expected one of drums, melody, chords"):
            FlowConfig.from_dict({"controls": names})
    with pytest.raises(ValueError, match="must not name a control twice"):
        FlowConfig(controls=("drums", "drums"))
    with pytest.raises(ValueError, match=r"controls in .* must be a list of names, got 'drums'"):
        FlowConfig.from_dict({"controls": "drums"})
    assert FlowConfig.from_json(CONFIG.to_json()) == CONFIG
    assert FlowConfig.from_dict({}).controls == CONTROL_NAMES


def test_the_order_of_the_names_is_the_order_of_the_channels() -> None:
    turned = replace(CONFIG, controls=("dynamics", "drums"))
    assert list(FlowTransformer(turned).temporal.channels) == ["dynamics", "drums"]
    condition = Condition.from_controls([curve(40)], CONFIG.condition_shape)
    with pytest.raises(ValueError, match="the condition must have the controls dynamics, drums, got drums"):
        FlowTransformer(turned).prepare(condition)

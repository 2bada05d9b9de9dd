"""The head of the stereo image, and the trunk that does not see it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style import StyleConfig
from flowmusic.model.config import FlowConfig
from flowmusic.model.image import gaussian_velocity
from flowmusic.model.transformer import FlowTransformer

CONFIG = FlowConfig(latent_dim=11, image_dim=3, width=32, depth=2, heads=2, text_dim=8, style_dim=8)


def model() -> FlowTransformer:
    torch.manual_seed(0)
    net = FlowTransformer(CONFIG)
    for parameter in net.parameters():  # what starts at zero says something as well
        parameter.data += 0.05 * torch.randn_like(parameter)
    return net.eval()


@torch.no_grad()
def velocity(net: FlowTransformer, x_t: Tensor, t: float = 0.4) -> Tensor:
    condition = Condition.null(x_t.shape[0], x_t.shape[1], net.config.condition_shape)
    out: Tensor = net(x_t, torch.full((x_t.shape[0],), t), condition)
    return out


def test_the_velocity_of_independent_normals_is_their_regression() -> None:
    """Least squares over many draws finds the same factor at every time."""
    generator = torch.Generator().manual_seed(0)
    x_0, x_1 = torch.randn(2, 200_000, generator=generator)
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        x_t = (1 - t) * x_0 + t * x_1
        slope = float((x_t * (x_1 - x_0)).sum() / x_t.square().sum())
        assert float(gaussian_velocity(torch.ones(1, 1, 1), torch.tensor([t]))) == pytest.approx(
            slope, abs=0.02
        )


def test_the_sound_does_not_depend_on_its_image() -> None:
    net, x_t = model(), torch.randn(2, 10, 11)
    other = x_t.clone()
    other[..., 8:] = torch.randn(2, 10, 3)
    a, b = velocity(net, x_t), velocity(net, other)
    assert torch.equal(a[..., :8], b[..., :8])
    assert not torch.allclose(a[..., 8:], b[..., 8:], atol=0.05)


def test_the_image_depends_on_the_sound_and_on_all_frames() -> None:
    net, x_t = model(), torch.randn(1, 10, 11)
    other = x_t.clone()
    other[:, 2, :8] += 1.0
    change = (velocity(net, x_t) - velocity(net, other))[0, :, 8:].abs().amax(dim=-1)
    assert bool((change > 1e-6).all())


def test_a_fresh_head_gives_the_velocity_of_noise() -> None:
    torch.manual_seed(0)
    net, x_t = FlowTransformer(CONFIG), torch.randn(2, 10, 11)
    expected = gaussian_velocity(x_t[..., 8:], torch.full((2,), 0.4))
    torch.testing.assert_close(velocity(net, x_t)[..., 8:], expected)


def test_without_an_image_it_is_the_plain_transformer() -> None:
    net = model()
    plain = FlowTransformer(FlowConfig(**{**CONFIG.__dict__, "latent_dim": 8, "image_dim": 0})).eval()
    missing = plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("image.")})
    assert not missing.missing_keys
    x_t = torch.randn(2, 10, 11)
    assert torch.equal(velocity(plain, x_t[..., :8]), velocity(net, x_t)[..., :8])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_dim": 11}, "from 0 to less than latent_dim"),
        ({"image_dim": -1}, "from 0 to less than latent_dim"),
        ({"image_dim": 1.5}, "whole number"),
        ({"style": StyleConfig(feature_dim=11, heads=2)}, "less image_dim"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowConfig(**{**CONFIG.__dict__, **changes})  # type: ignore[arg-type]

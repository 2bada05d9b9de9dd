"""What a training keeps in memory, counted without allocating it."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.training import training_memory
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

CONFIG = FlowConfig(latent_dim=8, width=32, depth=4, heads=2, text_dim=16, style_dim=8, time_channels=16)


def test_parameters_are_counted_and_activations_grow_with_the_batch() -> None:
    small, large = (training_memory(CONFIG, batch_size=size, n_frames=50) for size in (1, 2))
    n_parameters = sum(parameter.numel() for parameter in FlowTransformer(CONFIG).parameters())
    assert small.parameters == small.gradients == small.average == 4 * n_parameters
    assert small.optimiser == 8 * n_parameters
    assert 1.8 < large.activations / small.activations < 2.05
    parts = (small.parameters, small.gradients, small.optimiser, small.average, small.activations)
    assert small.total == sum(parts)


def test_recomputing_keeps_a_block_s_input_only() -> None:
    plain = training_memory(CONFIG, 2, 50).activations
    recomputed = training_memory(CONFIG, 2, 50, recompute=True).activations
    deeper = training_memory(replace(CONFIG, depth=8), 2, 50, recompute=True).activations
    assert recomputed < plain / 3
    assert deeper - recomputed < plain / 8


def test_a_mixed_precision_keeps_weights_and_moments_in_32_bits() -> None:
    full, mixed = training_memory(CONFIG, 2, 20), training_memory(CONFIG, 2, 20, "bf16-mixed")
    assert mixed.optimiser == full.optimiser and mixed.parameters == full.parameters
    assert mixed.activations < full.activations

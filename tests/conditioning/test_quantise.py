"""The residual quantiser: learns its codes, keeps them in use, and says less with fewer books."""

from __future__ import annotations

import pytest
import torch

from flowmusic.conditioning.quantise import ResidualQuantiser


def clusters(n: int, seed: int) -> torch.Tensor:
    """Vectors (n, 4) around 16 points."""
    centres = 3 * torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(16, (n,), generator=generator)
    return centres[which] + 0.05 * torch.randn(n, 4, generator=generator)


def trained(steps: int = 40, codebooks: int = 3, codes: int = 16) -> ResidualQuantiser:
    quantiser = ResidualQuantiser(codebooks, codes, 4).train()
    for step in range(steps):
        quantiser(clusters(200, step), generator=torch.Generator().manual_seed(step))
    return quantiser


def test_codes_find_what_is_there_and_each_book_adds_to_it() -> None:
    quantiser, vectors = trained().eval(), clusters(300, 999)
    errors = [
        float((quantiser(vectors, torch.full((300,), n)).values - vectors).square().mean()) for n in (1, 2, 3)
    ]
    assert errors[0] < 0.5 * float(vectors.var())
    assert errors[2] < errors[1] < errors[0]


def test_books_are_counted_by_vector() -> None:
    quantiser, vectors = trained().eval(), clusters(2, 5)
    both = quantiser(vectors, torch.tensor([1, 3]))
    for row, codebooks in enumerate((1, 3)):
        expected = sum(quantiser.codebooks[b, both.codes[row, b]] for b in range(codebooks))
        torch.testing.assert_close(both.values[row], expected)


def test_gradients_pass_straight_through() -> None:
    quantiser, vectors = trained().eval(), clusters(5, 3).requires_grad_()
    quantiser(vectors).values.sum().backward()
    assert vectors.grad is not None and torch.equal(vectors.grad, torch.ones(5, 4))


def test_dead_codes_come_back() -> None:
    quantiser = trained(steps=5)
    with torch.no_grad():
        quantiser.codebooks[0, 3:] = 1e3  # too far for anything to choose them
    for step in range(200):
        quantiser(clusters(200, step), generator=torch.Generator().manual_seed(step))
    quantiser.eval()
    used = quantiser(clusters(2000, 1)).codes[:, 0].unique()
    assert used.numel() >= 12


def test_it_is_the_same_again_with_the_same_seeds_and_fixed_outside_training() -> None:
    first, second = trained(), trained()
    assert torch.equal(first.codebooks, second.codebooks)
    first.eval()(clusters(50, 1))
    assert torch.equal(first.codebooks, second.codebooks)
    with pytest.raises(ValueError, match="expected a generator"):
        second(clusters(50, 1))


def test_numbers_stay_float32_under_autocast() -> None:
    quantiser, vectors = trained().eval(), clusters(50, 1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = quantiser(vectors).values
    assert inside.dtype == torch.float32 and torch.equal(inside, quantiser(vectors).values)

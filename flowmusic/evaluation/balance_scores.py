"""Text against style: for each scale of double guidance, how much of either is in the clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from flowmusic.evaluation.probe import Labels, Logistic, auc
from flowmusic.evaluation.prompts import Prompt, all_prompts
from flowmusic.evaluation.report import markdown_table
from flowmusic.evaluation.style_scores import Outcome, SongStyles, summarise
from flowmusic.evaluation.text_scores import Example, judge

COLOURS = ("#3a4cc0", "#b3541e", "#1b7a4b", "#7a3b8f", "#8a8a8a")


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    alpha: float
    beta: float

    @property
    def name(self) -> str:
        return f"alpha-{self.alpha:g}-beta-{self.beta:g}"

    def guidance(self, rescale: float = 0.0) -> str:
        """As `flowmusic.flow.schedule.Guidance.parse` reads it."""
        return f"double:{self.alpha:g},{self.beta:g}" + (f"; rescale={rescale:g}" if rescale else "")


@dataclass(frozen=True)
class BalanceRow:
    """Figures of one cell of the grid over n clips.

    similarity to share_closed   as in `flowmusic.evaluation.style_scores.StyleRow`
    asked, otherwise             the probe's mean probability of an attribute in clips whose prompt asks for
                                 it, and in those whose prompt asks against it; mean over attributes
    difference                   asked - otherwise
    auc                          mean over the same attributes
    attributes                   those that some prompts ask for and others against
    """

    alpha: float
    beta: float
    n: int
    similarity: float
    floor: float
    ceiling: float
    share_closed: float | None
    asked: float
    otherwise: float
    difference: float
    auc: float
    attributes: tuple[str, ...]

    @property
    def above_floor(self) -> float:
        """How much more like its own excerpt than like others: what is left of the style."""
        return self.similarity - self.floor


@dataclass(frozen=True)
class Tradeoff:
    """Of all steps from one beta to the next: in how many the balance goes the right way.

    similarity_falls   the similarity above its floor falls
    text_rises         the probe's difference rises
    """

    steps: int
    similarity_falls: int
    text_rises: int


def grid(alphas: Sequence[float], betas: Sequence[float]) -> list[Cell]:
    """Every combination, rising, beta the faster.

    Raises:
        ValueError: no number, one twice, an alpha that is not above 0 or a beta below 0.
    """
    for name, values in (("alphas", alphas), ("betas", betas)):
        if not values or len({f"{value:g}" for value in values}) < len(values):
            raise ValueError(f"--{name} must be numbers that differ, got {list(values)}")
    if not all(0 < alpha < np.inf for alpha in alphas):
        raise ValueError(f"--alphas must be finite numbers above 0, got {list(alphas)}")
    if not all(0 <= beta < np.inf for beta in betas):
        raise ValueError(f"--betas must be finite numbers of at least 0, got {list(betas)}")
    return [Cell(alpha, beta) for alpha in sorted(alphas) for beta in sorted(betas)]


def differs(prompt: Prompt, kind: Labels) -> bool:
    """Whether a prompt asks for what a song of this kind is not (a family it lacks, the other mode ...)."""
    positive = {name: True for name, asked in prompt.asks.items() if asked}
    return all(kind.get(name) is not asked for name, asked in (positive or prompt.asks).items())


def choose_prompts(kinds: Sequence[Labels]) -> list[Prompt]:
    """A prompt of another kind for each song; none comes again before the others were tried."""
    waiting: list[Prompt] = []
    chosen = []
    for kind in kinds:
        if not any(differs(prompt, kind) for prompt in waiting):
            waiting += all_prompts()
        # There is always one: prompts ask for drums and for none.
        prompt = next(item for item in waiting if differs(item, kind))
        waiting.remove(prompt)
        chosen.append(prompt)
    return chosen


def row_of(
    cell: Cell,
    results: np.ndarray,
    examples: Sequence[Example],
    songs: SongStyles,
    probes: Mapping[str, Logistic],
) -> BalanceRow:
    """The figures of a cell from its clips' embeddings (N, D) and what the probe sees of them.

    Raises:
        ValueError: fewer than 4 songs, another number of clips, or prompts of which none asks for what
            another does not.
    """
    style = summarise(Outcome("double", None, results), songs)
    judged = {name: judge(probe, name, examples) for name, probe in probes.items()}
    both = {name: values for name, values in judged.items() if len(values[0]) and len(values[1])}
    if not both:
        raise ValueError("expected prompts that ask for an attribute and prompts that do not, got one kind")
    asked = float(np.mean([asked.mean() for asked, _ in both.values()]))
    otherwise = float(np.mean([others.mean() for _, others in both.values()]))
    return BalanceRow(
        alpha=cell.alpha,
        beta=cell.beta,
        n=len(results),
        similarity=style.similarity,
        floor=style.floor,
        ceiling=style.ceiling,
        share_closed=style.share_closed,
        asked=asked,
        otherwise=otherwise,
        difference=asked - otherwise,
        auc=float(np.mean([auc(asked, others) for asked, others in both.values()])),
        attributes=tuple(both),
    )


def by_alpha(rows: Sequence[BalanceRow]) -> dict[float, list[BalanceRow]]:
    """Rows of each alpha, beta rising."""
    alphas = sorted({row.alpha for row in rows})
    return {
        alpha: sorted((row for row in rows if row.alpha == alpha), key=lambda row: row.beta)
        for alpha in alphas
    }


def tradeoff_of(rows: Sequence[BalanceRow]) -> Tradeoff:
    """How often the balance goes the right way; nothing moves where the prompt is ignored."""
    steps = [pair for line in by_alpha(rows).values() for pair in pairwise(line)]
    falls = sum(second.above_floor < first.above_floor for first, second in steps)
    rises = sum(second.difference > first.difference for first, second in steps)
    return Tradeoff(len(steps), falls, rises)


def to_markdown(rows: Sequence[BalanceRow], heading: str) -> str:
    """The table, and in how many steps of beta it goes the right way."""
    header = ["α", "β", "n", "similarity", "floor", "ceiling", "share closed"]
    header += ["probability if asked", "otherwise", "difference", "AUC"]
    cells: list[list[str | float | None]] = [
        [f"{row.alpha:g}", f"{row.beta:g}", f"{row.n}"]
        + [row.similarity, row.floor, row.ceiling, row.share_closed]
        + [row.asked, row.otherwise, row.difference, row.auc]
        for row in rows
    ]
    moved = tradeoff_of(rows)
    return (
        f"{heading}\n\n{markdown_table(header, cells)}\n\nFrom one β to the next, similarity above the "
        f"floor falls in {moved.similarity_falls} of {moved.steps} steps, the probe's difference rises in "
        f"{moved.text_rises}. Attributes: {', '.join(rows[0].attributes)}."
    )


def draw(rows: Sequence[BalanceRow], path: Path) -> Path:
    """A PNG of similarity above the floor against the probe's difference: a line for each alpha."""
    from flowmusic.plots.panels import GROUP_GAP_IN, INK, new_figure, save_png

    figure, (axis,) = new_figure([5.0], [GROUP_GAP_IN], "Text and style under double guidance")
    for number, (alpha, line) in enumerate(by_alpha(rows).items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(row.above_floor, row.difference) for row in line]
        axis.plot(*zip(*places, strict=True), "o-", color=colour, label=f"α = {alpha:g}")
        for row, place in zip(line, places, strict=True):
            label = f"β {row.beta:g}"
            axis.annotate(label, place, (5, 4), textcoords="offset points", fontsize=8, color=colour)
    axis.tick_params(labelbottom=True)
    axis.margins(0.08)
    axis.set_xlabel("similarity to the excerpt − floor", fontsize=8.5, color=INK)
    axis.set_ylabel("probability if asked − otherwise", fontsize=8.5, color=INK)
    axis.legend(fontsize=8, frameon=False)
    return save_png(figure, path)

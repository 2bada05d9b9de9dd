"""`flowmusic evaluate`: its arguments and its run are the evaluation's own."""

from __future__ import annotations

from flowmusic.evaluation.command import add_arguments, run

__all__ = ["add_arguments", "run"]

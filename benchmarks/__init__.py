"""Scripts that answer a research question each; run from the root of the source: `python -m benchmarks.NAME`."""

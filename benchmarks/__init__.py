"""Scripts that answer one research question each, run as `python -m benchmarks.NAME` from the source."""

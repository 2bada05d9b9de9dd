"""Extraction of drums, melody and chords from recordings, and their symbols."""

import os

# A side effect of an import, because nothing later would do: OpenMP reads this once, when torch is first
# imported. Its threads would spin while they wait, which slows all that runs beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

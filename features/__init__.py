"""Extraction of drums, melody and chords from recordings, and their symbols."""

import os

# A side effect of an import, because nothing later would do: OpenMP reads this once, when torch is first
# imported. Its threads would spin for long while they wait, which slows all that runs beside them. A clip of
# 10 s on two cores, idle and beside two busy processes: .78 and .80 s without any spin, .54 and .99 with 2000
# turns, .46 and 1.75 with 10,000.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}

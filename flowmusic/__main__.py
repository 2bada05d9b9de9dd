"""`python -m flowmusic` is the `flowmusic` command."""

from __future__ import annotations

import sys

from flowmusic.cli import main

sys.exit(main())

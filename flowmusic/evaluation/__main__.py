"""`python -m flowmusic.evaluation`."""

from __future__ import annotations

from flowmusic.evaluation.command import main

raise SystemExit(main())

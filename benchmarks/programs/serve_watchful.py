"""``tidegate serve`` that looks at the pointer ten times as often: what is measured is the swap, not the wait for it."""

from __future__ import annotations

from tidegate.cli import main
from tidegate.serving import follow

follow.POLL_SECONDS = 0.02
main()

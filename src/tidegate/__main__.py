"""``python -m tidegate``."""

from tidegate.cli.app import main

main()

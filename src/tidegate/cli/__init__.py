"""The command line: one file per noun, each loaded when it is asked for."""

from tidegate.cli.app import main

__all__ = ["main"]

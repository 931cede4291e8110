"""The flights demo: the whole loop on real data, by the public API and the command line only."""

from tidegate.demo.chapters import AUTUMN
from tidegate.demo.story import ChapterResult, DemoResult, tell

__all__ = ["AUTUMN", "ChapterResult", "DemoResult", "tell"]

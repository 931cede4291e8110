"""One report, three ways to read it: terminal, Markdown, HTML."""

from tidegate.gate.render.markdown import render_markdown
from tidegate.gate.render.page import render_html
from tidegate.gate.render.terminal import render_rich, render_text

__all__ = ["render_html", "render_markdown", "render_rich", "render_text"]

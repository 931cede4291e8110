"""One report, three ways to read it: terminal, Markdown, HTML."""

from tidegate.gate.render.markdown import render_markdown, sticky_marker
from tidegate.gate.render.page import page_policy, render_html
from tidegate.gate.render.terminal import render_rich, render_text

__all__ = ["page_policy", "render_html", "render_markdown", "render_rich", "render_text", "sticky_marker"]

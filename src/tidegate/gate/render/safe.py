"""Names and values of columns, classes and files are anybody's: they stay text, whatever a report is rendered to."""

from __future__ import annotations

import html as _html
import re
from typing import Any

import msgspec

from tidegate.records.report import Report

LONGEST = 500
"""Characters of one text; longer ones are cut."""
# Controls move a terminal's cursor; marks of direction (U+202A to U+202E, U+2066 to U+2069) show a text as another one.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_ACTIVE = re.compile(r"(?<=[@#!%])(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=GH)(?=-\d)", re.IGNORECASE)
_APART = "\u200b"
_MARKUP = {letter: f"\\{letter}" for letter in "\\`*_[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def cleaned(report: Report) -> Report:
    """The same report with texts that a reader can trust to be what they see: no controls, nothing endless."""
    return msgspec.convert(_clean(msgspec.to_builtins(report)), Report)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        text = _UNSEEN.sub(lambda found: " " if found[0] in "\t\n\r" else "\N{REPLACEMENT CHARACTER}", value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value] if value and not isinstance(value[0], float) else value
    return value


def short(text: str, most: int = 120) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def html(text: object) -> str:
    """Text for HTML, in elements and in quoted attributes."""
    return _html.escape(str(text), quote=True)


def markdown(text: str) -> str:
    """Text for a line or cell of Markdown: no markup, and nobody is mentioned, nothing linked."""
    return "".join(_MARKUP.get(letter, letter) for letter in _inert(text))


def markdown_html(text: str) -> str:
    """Text for an HTML element inside Markdown, such as a summary, where backslashes would be shown."""
    return "".join(f"&#{ord(letter)};" if letter in "`*_[]~|" else letter for letter in html(_inert(text)))


def code(text: str) -> str:
    """Text for a fenced block: nothing in it can end the block."""
    return text.replace("`", "'")


def _inert(text: str) -> str:
    """A space of no width where the host of a pull request would make a mention, a reference or a link."""
    return _ACTIVE.sub(_APART, text)

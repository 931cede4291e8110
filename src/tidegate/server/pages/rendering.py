"""From a template and its values to a page: the Jinja environment and how numbers, times and charts are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
import msgspec
from markupsafe import Markup

from tidegate.clock import DAY, HOUR, MINUTE, SECOND, format_time
from tidegate.digest import short

SHARES, LATENCY = ("errors", "disagreement"), "latency_p99_ms"
"""Conditions of a rollout that are shares of rows, and the one that is a time in milliseconds."""


class Page(NamedTuple):
    """What a page shows: a template of ``templates/``, its title, and its values. ``area`` is the entry of the menu it belongs to."""

    template: str
    title: str
    area: str
    values: dict[str, Any]
    commands: tuple[str, ...] = ()
    """What says the same in a terminal."""


def number(value: float | None, digits: int = 4) -> str:
    """A number in ``digits`` significant digits; a dash for what is not there."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if value == int(value):
        return f"{int(value):,}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−", 1)


def amount(value: float | None, name: str) -> str:
    """A number of a rollout's condition in the unit that this has."""
    if value is None:
        return "?"
    return f"{number(100 * value, 3)} %" if name in SHARES else f"{number(value, 3)} ms" if name == LATENCY else number(value, 3)


def markdown(text: str) -> Markup:
    """Markdown that anybody may have written: its HTML is shown as text, pictures are left as links, headings go below the page's own."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        token.attrs.pop("style", None)  # the page's policy allows none
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - the parser escapes whatever is no Markdown


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def duration(us: int) -> str:
    """A span of microseconds in its one or two largest units."""
    for unit, letter, smaller, small in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", SECOND, "s")):
        if us >= unit:
            rest = us % unit // smaller
            return f"{us // unit} {letter} {rest} {small}" if rest else f"{us // unit} {letter}"
    return f"{us / SECOND:.3g} s"


def moment(us: int) -> Markup:
    """A time in UTC as a ``<time>`` element."""
    text = format_time(us)
    return Markup('<time datetime="{}">{}</time>').format(text.replace(" ", "T"), text)


def day(us: int) -> str:
    """The UTC day of a time."""
    return format_time(us)[:10]


def ago(us: int, now: int) -> str:
    """How long before ``now``; empty for what is over a year away or to come, where only the date says something."""
    past = now - us
    if past < 0 or past > 366 * DAY:
        return ""
    for unit, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if past >= unit:
            count = past // unit
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def segment(text: object) -> str:
    """A text as one segment of a URL's path."""
    return quote(str(text), safe="")


def json_script(value: Any) -> Markup:
    """A value as JSON for a ``<script type="application/json">``: nothing in it can end the element."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character that HTML reads is escaped above


class Sparkline(NamedTuple):
    """A small line: the points of one SVG polyline per unbroken stretch, and the height of the bound's line."""

    stretches: list[str]
    bound: str


def sparkline(values: Sequence[float | None], bound: float | None, *, width: int = 240, height: int = 48) -> Sparkline:
    """A line through ``values`` and its bound in one scale, larger values higher; a gap where a value is not known."""
    numbers = [value if value is not None and math.isfinite(value) else None for value in values]
    present = [value for value in (*numbers, bound) if value is not None]
    low, high = min(present, default=0.0), max(present, default=0.0)
    across = (width - 8) / max(len(numbers) - 1, 1)

    def y(value: float) -> str:
        return f"{height - 4 - ((value - low) / (high - low) if high > low else 0.5) * (height - 8):.1f}"

    stretches: list[list[str]] = [[]]
    for index, value in enumerate(numbers):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{4 + index * across:.1f},{y(value)}")
    return Sparkline([" ".join(stretch) for stretch in stretches if stretch], y(bound) if bound is not None else "")


def environment(**values: Any) -> jinja2.Environment:
    """The one environment: everything is escaped, and a value that a template names but does not get is an error.

    ``values`` can be named by every template.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tidegate.server.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = made.filters
    filters.update(
        amount=amount,
        markdown=markdown,
        number=number,
        signed=signed,
        bytes=size,
        duration=duration,
        time=moment,
        day=day,
        short=short,
        segment=segment,
        json_script=json_script,
    )
    shared: dict[str, Any] = made.globals
    shared.update(ago=ago, sparkline=sparkline, **values)
    return made

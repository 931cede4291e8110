"""Charts as plotly figures in plain data: the page's script draws them.

A colour is the name of a CSS variable (``--accent``): the script looks it up, so that light and dark are one figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.clock import format_time
from tidegate.records.monitoring import Finding, Window
from tidegate.records.rollout import Condition
from tidegate.records.run import Bucketed
from tidegate.server.pages.rendering import LATENCY, SHARES

Figure = dict[str, Any]

PALETTE = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5", "--chart-6"]
PIXELS = 600
"""The columns of a curve. Longer series are drawn with the exact least and greatest value of each: a spike is never lost."""


def stamp(us: int) -> str:
    """A time as plotly takes it; it is drawn as it stands, so UTC stays UTC."""
    return format_time(us).removesuffix("Z")


def curve(series: Sequence[tuple[str, Bucketed]], axis: str = "step") -> Figure:
    """One metric over steps (or what ``axis`` calls them): for each run a line.

    Where it has more points than columns, a band holds them all.
    """
    traces: list[Figure] = []
    for index, (name, found) in enumerate(series):
        colour = PALETTE[index % len(PALETTE)]
        exact = bool((found.counts == 1).all())
        if not exact:
            traces.append(_band(name, found, colour))
        told = (
            f"{axis} %{{x}}: %{{y:.6g}}"
            if exact
            else f"up to {axis} %{{x}}: %{{y:.6g}}<br>from %{{customdata[0]:.6g}} to %{{customdata[1]:.6g}}"
        )
        line: Figure = {
            "type": "scatter",
            "mode": "lines+markers" if len(found.last) < 30 else "lines",
            "name": name,
            "x": found.last.tolist(),
            "y": _finite(found.close),
            "line": {"color": colour, "width": 2 if exact else 1.25},
            "marker": {"size": 5},
            "hovertemplate": told + "<extra>" + _plain(name) + "</extra>",
        }
        if not exact:
            line["customdata"] = list(zip(_finite(found.low), _finite(found.high), strict=True))
        traces.append(line)
    return {"data": traces, "layout": {"xaxis": {"title": {"text": axis}}, "showlegend": len(series) > 1}}


def _band(name: str, found: Bucketed, colour: str) -> Figure:
    """From the least to the greatest value of each stretch, as one polygon for each row of stretches without a gap."""
    x: list[int | None] = []
    y: list[float | None] = []
    known = np.isfinite(found.low) & np.isfinite(found.high)
    for row in np.split(np.arange(len(known)), np.flatnonzero(np.diff(known)) + 1):
        if not len(row) or not known[row[0]]:
            continue
        steps = np.stack((found.first[row], found.last[row]), axis=1).ravel()
        x += [*steps.tolist(), *steps[::-1].tolist(), None]
        y += [*np.repeat(found.high[row], 2).tolist(), *np.repeat(found.low[row], 2)[::-1].tolist(), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": colour,
        "line": {"color": colour, "width": 1},
        "opacity": 0.35,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _finite(column: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]


def performance(windows: Sequence[Window], metric: str) -> Figure:
    """A metric of each window with its interval, one line per served version, and the bound that each was held against."""
    versions = sorted({item.version for _, item in _of(windows, "performance", metric) if item.statistic is not None})
    traces: list[Figure] = []
    for index, version in enumerate(versions):
        found = [(window, item) for window, item in _of(windows, "performance", metric) if item.version == version]
        colour = PALETTE[index % len(PALETTE)]
        name = f"version {version}" if version else "all versions"
        x = [stamp(window.start) for window, _ in found]
        traces += [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": x,
                "y": [item.statistic for _, item in found],
                "line": {"color": colour, "width": 2},
                "marker": {"size": 7, "color": [colour if (item.ratio or 0) <= 1 else "--bad" for _, item in found]},
                "error_y": _interval([item for _, item in found]),
                "hovertemplate": f"%{{x|%d %b %Y}}: {_plain(metric)} %{{y:.4g}}<extra>{name}</extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"bound of {name}",
                "x": x,
                "y": [item.bound for _, item in found],
                "line": {"color": "--bad", "width": 1.5, "dash": "dash", "shape": "hvh"},
                "hovertemplate": f"bound %{{y:.4g}}<extra>{name}</extra>",
                "showlegend": index == 0,
            },
        ]
    if traces:
        traces[1]["name"] = "bound"
    return {"data": traces, "layout": {"showlegend": True}}


def _interval(findings: Sequence[Finding]) -> Figure:
    """Error bars from the intervals; none where there is no interval."""

    def reach(end: float | None, value: float | None) -> float:
        return abs(end - value) if end is not None and value is not None else 0.0

    return {
        "type": "data",
        "symmetric": False,
        "array": [reach(item.high, item.statistic) for item in findings],
        "arrayminus": [reach(item.low, item.statistic) for item in findings],
        "thickness": 1,
        "width": 0,
        "color": "--muted",
    }


def sequence(path: Sequence[Condition]) -> Figure | None:
    """How a condition of a rollout came to be known: its estimate in its confidence sequence after so many rows, and its bound.

    None where nothing is known yet. An interval without an upper end reaches as far as anything else that is drawn.
    """
    known = [each for each in path if each.value is not None and each.low is not None]
    if not known:
        return None
    last = known[-1]
    percent, milliseconds = last.name in SHARES, last.name == LATENCY
    top = 1.15 * max(
        [each.bound for each in known] + [end for each in known for end in (each.high, each.value) if end is not None]
    )
    rows = [each.rows for each in known]
    highs = [top if each.high is None else each.high for each in known]
    colour = {"held": "--good", "harm": "--bad"}
    told = f"{'%{y:.3%}' if percent else '%{y:.4g}'}{' ms' if milliseconds else ''}"
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [*rows, *reversed(rows)],
                "y": [*highs, *(each.low for each in reversed(known))],
                "fill": "toself",
                "fillcolor": "--chart-1",
                "line": {"color": "--chart-1", "width": 1},
                "opacity": 0.3,
                "name": "confidence sequence",
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "estimate",
                "x": rows,
                "y": [each.value for each in known],
                "line": {"color": "--chart-1", "width": 2},
                "marker": {"size": 6, "color": [colour.get(each.answer, "--chart-1") for each in known]},
                "customdata": [_ends(each, percent=percent) for each in known],
                "hovertemplate": f"after %{{x:,}} rows: {told}<br>%{{customdata}}<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "bound: harm is above",
                "x": [0, rows[-1]],
                "y": [last.bound, last.bound],
                "line": {"color": "--bad", "width": 1.5, "dash": "dash"},
                "hovertemplate": f"bound {told}<extra></extra>",
            },
        ],
        "layout": {
            "showlegend": True,
            "xaxis": {"title": {"text": "rows"}, "rangemode": "tozero"},
            "yaxis": {"tickformat": ".2~%" if percent else "", "ticksuffix": " ms" if milliseconds else "", "zeroline": True},
        },
    }


def _ends(condition: Condition, *, percent: bool) -> str:
    """The interval in words."""
    low, high = (
        "no end yet" if end is None else f"{100 * end:.3g} %" if percent else f"{end:.4g}"
        for end in (condition.low, condition.high)
    )
    return f"from {low} to {high}"


def volume(windows: Sequence[Window]) -> Figure:
    """Predictions of each window, and how many of them have a label."""
    x = [stamp(window.start) for window in windows]
    bars = {"type": "bar", "x": x, "hovertemplate": "%{x|%d %b %Y}: %{y:,}<extra>%{fullData.name}</extra>"}
    return {
        "data": [
            {**bars, "name": "labelled", "y": [window.labelled for window in windows], "marker": {"color": "--chart-1"}},
            {
                **bars,
                "name": "no label yet",
                "y": [window.rows - window.labelled for window in windows],
                "marker": {"color": "--chart-quiet"},
            },
        ],
        "layout": {"barmode": "stack", "showlegend": True, "yaxis": {"rangemode": "tozero"}},
    }


def latency(windows: Sequence[Window]) -> Figure:
    """The 99th percentile of the time from request to answer, in milliseconds, and its limit."""
    found = _of(windows, "latency", "")
    x = [stamp(window.start) for window, _ in found]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "p99",
                "x": x,
                "y": [item.statistic for _, item in found],
                "line": {"color": "--chart-1", "width": 2},
                "hovertemplate": "%{x|%d %b %Y}: %{y:.3g} ms<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "limit",
                "x": x,
                "y": [item.bound for _, item in found],
                "line": {"color": "--bad", "width": 1.5, "dash": "dash"},
                "hovertemplate": "limit %{y:.3g} ms<extra></extra>",
            },
        ],
        "layout": {"showlegend": True, "yaxis": {"rangemode": "tozero", "title": {"text": "ms"}}},
    }


def ratios(windows: Sequence[Window], kinds: Sequence[str]) -> Figure:
    """A heat map of findings: a row per subject, a column per window, the colour how far it went towards its bound (1)."""
    subjects: dict[str, dict[int, Finding]] = {}
    for window in windows:
        for item in window.findings:
            if item.kind in kinds:
                subjects.setdefault(_row(item), {})[window.start] = item
    names = sorted(subjects, key=lambda name: max((item.ratio or 0.0) for item in subjects[name].values()))
    cells = [[subjects[name].get(window.start) for window in windows] for name in names]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [stamp(window.start) for window in windows],
                "y": names,
                "z": [[cell.ratio if cell else None for cell in row] for row in cells],
                "customdata": [[_told(cell) for cell in row] for row in cells],
                "zmin": 0,
                "zmax": 2,
                "xgap": 1,
                "ygap": 1,
                "colorscale": [[0.0, "--heat-0"], [0.35, "--heat-1"], [0.4999, "--heat-2"], [0.5, "--heat-3"], [1.0, "--heat-4"]],
                "colorbar": {
                    "title": {"text": "of the bound", "side": "right"},
                    "tickvals": [0, 0.5, 1, 1.5, 2],
                    "ticktext": ["0", "½", "1: bound", "1½", "2 or more"],
                    "thickness": 10,
                    "outlinewidth": 0,
                },
                "hovertemplate": "%{y}, %{x|%d %b %Y}<br>%{customdata}<extra></extra>",
                "hoverongaps": False,
            }
        ],
        "layout": {"yaxis": {"type": "category", "automargin": True, "showgrid": False}, "xaxis": {"showgrid": False}},
    }


def ratio_rows(windows: Sequence[Window], kinds: Sequence[str]) -> int:
    """How many rows the heat map of ``ratios`` has."""
    return len({_row(item) for window in windows for item in window.findings if item.kind in kinds})


def _row(item: Finding) -> str:
    text = f"{item.subject} (prediction)" if item.kind == "prediction_drift" else item.subject
    return f"{text} v{item.version}" if item.version else text


def _told(cell: Finding | None) -> str:
    if cell is None:
        return ""
    if cell.ratio is None or cell.statistic is None or cell.bound is None:
        return _plain(cell.note)
    return f"{cell.ratio:.2f} of the bound ({cell.statistic:.3g} against {cell.bound:.3g})" + (
        f"<br>{_plain(cell.note)}" if cell.note else ""
    )


def metrics_of(windows: Sequence[Window]) -> list[str]:
    """The performance metrics that any window has, in the order of their first appearance."""
    return list(dict.fromkeys(item.subject for window in windows for item in window.findings if item.kind == "performance"))


def _of(windows: Sequence[Window], kind: str, subject: str) -> list[tuple[Window, Finding]]:
    return [
        (window, item) for window in windows for item in window.findings if item.kind == kind and subject in {"", item.subject}
    ]


def _plain(text: str) -> str:
    """A text without what plotly reads as markup or as a template."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")

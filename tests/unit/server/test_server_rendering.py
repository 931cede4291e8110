"""How numbers, times and lines are written; and that every pair of colours can be read."""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.clock import DAY, HOUR, MINUTE, SECOND
from tidegate.records.policy import Rule
from tidegate.records.run import Bucketed
from tidegate.server.pages import charts, rendering
from tidegate.server.pages.rendering import ago, duration, environment, json_script, number, segment, size, sparkline

CSS = (Path(rendering.__file__).parent / "static" / "tidegate.css").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (12345, "12,345"),
        (-3, "−3"),
        (0.123456, "0.1235"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (2.0, "2"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_sizes_and_durations() -> None:
    assert [size(1), size(999), size(1000), size(25_300_000_000), size(10**16)] == ["1 B", "999 B", "1 kB", "25.3 GB", "1e+04 TB"]
    assert [duration(us) for us in (0, 1500, SECOND, 61 * SECOND, 2 * HOUR, 25 * HOUR + MINUTE)] == [
        "0 s",
        "0.0015 s",
        "1 s",
        "1 min 1 s",
        "2 h",
        "1 d 1 h",
    ]


def test_ago_says_nothing_of_the_future_and_of_long_ago() -> None:
    assert [ago(0, us) for us in (-1, 10, MINUTE, 2 * HOUR, DAY, 400 * DAY)] == [
        "",
        "just now",
        "1 minute ago",
        "2 hours ago",
        "1 day ago",
        "",
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_for_a_script_comes_back_and_cannot_end_it(value: object) -> None:
    text = str(json_script(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


@given(st.text(max_size=50))
def test_a_segment_is_one_segment(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert not set("/?#\\<>\"' ") & set(segment(text))


def test_sparkline_breaks_where_nothing_is_known_and_holds_the_bound() -> None:
    line = sparkline([1.0, 2.0, None, 4.0, math.nan], 8.0)
    assert [len(stretch.split()) for stretch in line.stretches] == [2, 1]
    assert line.bound == "4.0", "the bound is the highest"
    assert sparkline([None], None) == ([], "")
    assert sparkline([], None).stretches == []
    assert sparkline([3.0, 3.0], None).stretches == ["4.0,24.0 236.0,24.0"]


def bucketed(*rows: tuple[int, int, int, float, float, float]) -> Bucketed:
    first, last, counts, low, high, close = (np.array(column) for column in zip(*rows, strict=True))
    return Bucketed(first, last, counts, low, high, close, last)


def test_a_curve_of_points_is_a_line_with_gaps() -> None:
    points = bucketed((1, 1, 1, 5.0, 5.0, 5.0), (2, 2, 1, math.nan, math.nan, math.nan), (3, 3, 1, math.inf, math.inf, math.inf))
    (line,) = charts.curve([("run", points)])["data"]
    assert (line["x"], line["y"]) == ([1, 2, 3], [5.0, None, None])


def test_a_curve_of_stretches_has_a_band_that_holds_every_extreme() -> None:
    stretches = [(0, 9, 10, -1.0, 8.0, 0.0), (10, 19, 10, math.nan, math.nan, math.nan), (20, 29, 10, 2.0, 70.0, 3.0)]
    band, line = charts.curve([("run", bucketed(*stretches))])["data"]
    assert band["x"] == [0, 9, 9, 0, None, 20, 29, 29, 20, None]
    assert band["y"] == [8.0, 8.0, -1.0, -1.0, None, 70.0, 70.0, 2.0, 2.0, None]
    assert (line["x"], line["y"]) == ([9, 19, 29], [0.0, None, 3.0])
    assert line["customdata"] == [(-1.0, 8.0), (None, None), (2.0, 70.0)]


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    return {name: dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", text)) for name, text in (("light", light), ("dark", dark))}


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXTS = [(ink, paper) for ink in ("--ink", "--dim", "--accent", "--bad", "--good", "--warn") for paper in ("--paper", "--card")]
TEXTS += [
    ("--good", "--good-soft"),
    ("--bad", "--bad-soft"),
    ("--warn", "--warn-soft"),
    ("--odd", "--odd-soft"),
    ("--accent", "--accent-soft"),
]
TEXTS += [
    ("--on-accent", "--accent"),
    ("--ink", "--warn-soft"),
    ("--paper", "--warn"),
    ("--ink", "--line"),
    ("--ink", "--accent-soft"),
    ("--dim", "--accent-soft"),
]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_texts_and_marks_have_the_contrast_of_wcag_aa(mode: str) -> None:
    colours = palettes()[mode]
    weak = {pair: round(ratio, 2) for pair in TEXTS if (ratio := contrast(colours[pair[0]], colours[pair[1]])) < 4.5}
    assert weak == {}
    marks = [f"--chart-{index}" for index in range(1, 7)] + ["--field", "--heat-4"]
    faint = {
        name: round(ratio, 2)
        for name in marks
        for paper in ("--paper", "--card")
        if (ratio := contrast(colours[name], colours[paper])) < 3
    }
    assert faint == {}


def test_both_palettes_name_the_same_colours() -> None:
    light, dark = palettes().values()
    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\((--[\w-]+)\)", CSS)) <= light.keys()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(test="superior", metric="log_loss", slices=["origin"]), "log_loss better, also in every origin"),
        (Rule(test="not_worse", metric="mae", relative_margin=0.02), "mae not worse by more than 2% of the champion's"),
        (Rule(test="floor", metric="roc_auc", value=0.6), "roc_auc on the good side of 0.6"),
        (
            Rule(test="gap", metric="recall", slices=["origin"], margin=0.1),
            "recall alike between the values of origin, wider than the champion's by at most 0.1",
        ),
        (Rule(test="gap", metric="recall", slices=["origin"], value=0.3), "recall alike between the values of origin, limit 0.3"),
        (Rule(test="latency", value=2, relative=True), "latency, limit 2 times the champion's"),
        (Rule(test="freshness", max_age="30d"), "freshness, at most 30d"),
        *(
            (Rule(test=name), name.replace("_", " "))
            for name in ("golden", "flips", "size", "schema", "leakage", "label_coverage")
        ),
    ],
)
def test_every_kind_of_rule_is_told(rule: Rule, words: str) -> None:
    told = environment().get_template("macros.html").module.rule(rule)
    assert re.sub(r"<[^>]*>", "", html.unescape(told)).strip() == words

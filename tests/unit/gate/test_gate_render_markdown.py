"""The comment on a pull request: markup of others stays text, nobody is mentioned, nothing linked, and it always fits."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from report_cases import every_kind, hostile, huge, judged_reports

from tidegate.gate import render_markdown, sticky_marker
from tidegate.gate.render.safe import markdown, markdown_html

REPORTS = judged_reports()
APART = "\u200b"


def _outside_of_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def test_markup_of_others_stays_text() -> None:
    for report in (hostile(every_kind()), hostile(REPORTS["FAIL"])):
        text = render_markdown(report)
        assert text.count("```") == 2, "one forest plot, opened and closed"
        plain = _outside_of_code(text)
        tags = set(re.findall(r"<[^>]*>", plain))
        assert tags <= {"<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>", text.splitlines()[0]}
        assert plain.count("<details>") == plain.count("</details>")
        assert not re.search(r"(?<!\\)\*\*b", plain)
        assert not re.search(r"@(?=\w)|(?<!&)#(?=\d)|://|GH-\d|www\.", plain)
        assert "](" not in plain.replace("\\]", "")
        heads = [line for line in plain.splitlines() if line.startswith("#")]
        assert all(re.match(r"#{2,4} ", line) for line in heads)


def test_cells_do_not_break_their_table() -> None:
    rows = [line for line in render_markdown(hostile(every_kind())).splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert set(widths) <= {4, 5, 6, 7}
    starts = [place for place, line in enumerate(rows) if re.fullmatch(r"\|[-:|]+\|", line)]
    for place in starts:
        assert widths[place] == widths[place - 1]


@given(st.text(alphabet=st.sampled_from(list("ab1@#:/.w<>&|`*_[]()\\~-G H$!")), max_size=40))
def test_any_text_is_inert(text: str) -> None:
    for made in (markdown(text), markdown_html(text)):
        assert not re.search(r"[@#](?=\w)|://|www\.", re.sub("&#x?[0-9]+;", "'", made), re.IGNORECASE)
        assert "<" not in made
        assert ">" not in made
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]]", markdown(text))
    assert markdown_html(text).replace(APART, "") == markdown_html(text.replace(APART, "")).replace(APART, "")


def test_the_comment_is_found_again_by_its_first_line() -> None:
    assert sticky_marker(every_kind()) == "<!-- tidegate-gate: delay -->"
    assert sticky_marker(replace(every_kind(), candidate="a --> <b>@7")) == "<!-- tidegate-gate: a------b- -->"
    assert render_markdown(every_kind()).startswith("<!-- tidegate-gate: delay -->\n## ⛔ INVALID")


def test_what_does_not_fit_is_left_out_and_told() -> None:
    text = render_markdown(huge())
    assert len(text.encode()) < 65_536
    assert "Left out, as a comment has no room for more: " in text
    assert text.count("<details>") == text.count("</details>")
    assert text.count("```") % 2 == 0
    assert "Left out" not in render_markdown(REPORTS["FAIL"])


def test_it_has_a_forest_plot_the_worst_flips_and_what_would_change_the_verdict() -> None:
    text = render_markdown(REPORTS["FAIL"])
    plot = text.split("```")[1]
    assert re.search(r"brier +[ :|]*\[[-:|]*o[-:|]*\]", plot)
    assert len(re.findall(r"^\| \d+ \| [01] \| [\d.e-]+ \| [\d.e-]+ \|", text, re.MULTILINE)) == 10
    assert "### What would change the verdict\n\n- brier is stopped by carrier = UA" in text


def test_gitlab_refers_to_nothing_that_a_value_names() -> None:
    for text in ("!12", "%3", "@ana", "#4"):
        assert markdown(text).replace("\\", "") == f"{text[0]}\u200b{text[1:]}"


def test_no_mark_of_direction_is_left() -> None:
    named = replace(REPORTS["FAIL"], title="a\u061cb")
    assert "\u061c" not in render_markdown(named)

"""A report in Markdown, for one comment on a pull request that is written anew instead of adding more."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.gate.render.forest import LEGEND, bar, reach_of
from tidegate.gate.render.lines import (
    Line,
    asked_of_slices,
    diffs_of,
    facts,
    named,
    number,
    rule_line,
    rules_in_order,
    shown_gain,
    side_words,
    slice_lines,
)
from tidegate.gate.render.safe import cleaned, code, markdown, markdown_html
from tidegate.gate.wording import noun_of
from tidegate.records.report import Problem, Report, RuleResult, Shown
from tidegate.records.verdict import Verdict

SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⏳", Verdict.INVALID: "⛔"}
LIMIT = 60_000
"""Bytes of a comment. GitHub takes 65,536 characters."""
_SLICES = 10
_FOLDED = 60
_WIDTH = 31
_NAME = 28


def sticky_marker(report: Report) -> str:
    """The hidden line by which the comment about this model (or column) is found again."""
    about = report.candidate.partition("@")[0]
    return f"<!-- tidegate-gate: {''.join(letter if letter.isalnum() or letter in '._' else '-' for letter in about[:100])} -->"


def render_markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown, the answer first. Always under GitHub's limit: what does not fit is left out and told."""
    marker = sticky_marker(report)
    report = cleaned(report)
    parts = [
        ("", f"{marker}\n## {SIGNS[report.verdict]} {report.verdict}: {markdown(report.title)}"),
        ("", f"**{markdown(report.sentence)}**"),
        ("problems", _problems(report.problems)),
        ("rules", _rules(report)),
        ("what would change the verdict", _advice(report)),
        *(("slices", _slices(rule, noun_of(report.task, rule.test))) for rule in rules_in_order(report)),
        *(("rows", _shown(rule)) for rule in report.rules),
        ("flips", _flips(report)),
        ("warnings", "\n".join(f"> ⚠️ {_problem(warning)}\n>" for warning in report.warnings).removesuffix("\n>")),
        *(("slices", _passing(rule, noun_of(report.task, rule.test))) for rule in report.rules),
        ("explored slices", _explored(report)),
        *(("diffs", text) for text in _diffs(report)),
    ]
    foot = _foot(report)
    room = LIMIT - len(foot.encode()) - 300
    said: list[str] = []
    left_out: list[str] = []
    for what, part in parts:
        size = len(part.encode()) + 2
        if part and size <= room:
            said.append(part)
            room -= size
        elif part:
            left_out.append(what)
    if left_out:
        said.append(
            f"> Left out, as a comment has no room for more: {', '.join(dict.fromkeys(left_out))}. The full report has it."
        )
    return "\n\n".join([*said, foot]) + "\n"


def _problems(problems: list[Problem]) -> str:
    return "\n".join(f"- ⛔ {_problem(problem)}" for problem in problems[:20])


def _problem(problem: Problem) -> str:
    return f"`{code(problem.code)}`: {markdown(problem.what)}" + (f". **Fix:** {markdown(problem.fix)}" if problem.fix else "")


def _rules(report: Report) -> str:
    if not report.rules:
        return ""
    lines = [rule_line(rule, report.rows) for rule in report.rules]
    table = _lines_table("rule | asked", [(line.name, line.asked, line) for line in lines])
    drawn = [line for line in lines if line.gain.low is not None]
    if not drawn:
        return table
    names = [_short(line.name) for line in drawn]
    width = max(map(len, names))
    forest = [
        f"{name.ljust(width)}  {bar(line, _WIDTH, reach_of([line]))}  {shown_gain(line.gain)}"
        for name, line in zip(names, drawn, strict=True)
    ]
    plot = "```text\n" + "\n".join(code(row) for row in forest) + f"\n\n{LEGEND}\n```"
    return f"{table}\n\n{plot}\n\n{facts(report)}; plus is good."


def _advice(report: Report) -> str:
    if not report.advice:
        return ""
    return "### What would change the verdict\n\n" + "\n".join(f"- {markdown(sentence)}" for sentence in report.advice)


def _slices(rule: RuleResult, noun: str) -> str:
    stopping = [line for line in slice_lines(rule) if line.verdict is not Verdict.PASS]
    if not stopping:
        return ""
    title = f"{named(rule)}, {asked_of_slices(rule)}: {len(stopping)} of {len(rule.slices)} slices do not pass"
    rows = [(line.name, f"{line.rows:,}", line) for line in stopping]
    first = _lines_table(f"slice | {noun}", rows[:_SLICES])
    rest = rows[_SLICES:_FOLDED]
    more = f"the next {len(rest)}" if len(rows) > _FOLDED else f"the other {len(rest)}"
    return f"#### {markdown(title)}\n\n{first}" + (f"\n\n{_fold(more, _lines_table(f'slice | {noun}', rest))}" if rest else "")


def _passing(rule: RuleResult, noun: str) -> str:
    passing = [line for line in slice_lines(rule) if line.verdict is Verdict.PASS]
    if not passing:
        return ""
    more = f", the {_FOLDED} with the least gain" if len(passing) > _FOLDED else ""
    table = _lines_table(f"slice | {noun}", [(line.name, f"{line.rows:,}", line) for line in passing[:_FOLDED]])
    return _fold(f"{named(rule)}: {len(passing)} {'slice that passes' if len(passing) == 1 else 'slices that pass'}{more}", table)


def _shown(rule: RuleResult) -> str:
    return f"#### {markdown(named(rule))}: rows that explain it\n\n{_rows_table(rule.shown)}" if rule.shown else ""


def _flips(report: Report) -> str:
    if report.flips is None:
        return ""
    said = f"### Rows that changed sides\n\n{markdown(side_words(report))}"
    return said + (
        f"\n\nThe worst of those that only the champion has:\n\n{_rows_table(report.flips.worst)}" if report.flips.worst else ""
    )


def _explored(report: Report) -> str:
    rows = [
        (each.where, f"{each.rows:,}", each.metric, number(each.difference.estimate), f"{each.p:.2g}", each.note)
        for each in report.explored
    ]
    if not rows:
        return ""
    return _fold(
        "Slices that nobody asked about, where the candidate looks worse (they do not decide)",
        _table(("slice", noun_of(report.task), "metric", "candidate minus champion", "p, adjusted", ""), rows),
    )


def _diffs(report: Report) -> list[str]:
    return [
        _fold(f"{name}: what changed", _table(("what", "champion", "candidate"), [(c.what, c.before, c.after) for c in changes]))
        for name, changes in diffs_of(report)
        if changes
    ]


def _foot(report: Report) -> str:
    parts = [facts(report), f"seed {report.seed}"]
    parts += [f"snapshot {markdown(report.snapshot)}"] if report.snapshot else []
    parts += [f"policy {markdown(report.policy_digest[:12])}"] if report.policy_digest else []
    if report.wear is not None:
        parts.append(f"the rows were judged by {report.wear.uses:,} times before")
    return f"<sub>{' · '.join(parts)}</sub>"


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{markdown_html(title)}</summary>\n\n{body}\n\n</details>"


def _rows_table(rows: list[Shown]) -> str:
    return _table(
        ("row", "label", "candidate", "champion", ""),
        [(row.key, row.label, row.candidate, row.champion, row.note) for row in rows],
    )


def _lines_table(head: str, rows: list[tuple[str, str, Line]]) -> str:
    lines = [f"| {head} | candidate | champion | gain (interval) | verdict |", "|---|---|---:|---:|---|---|"]
    for first, second, line in rows:
        cells = (
            markdown(first),
            markdown(second),
            number(line.candidate.estimate),
            number(line.champion.estimate) if line.champion else "-",
            shown_gain(line.gain),
            f"{SIGNS[line.verdict]} {line.verdict}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(markdown(cell) for cell in row)} |" for row in rows)])


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"

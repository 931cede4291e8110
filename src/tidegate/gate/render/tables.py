"""Tables of the HTML page: rules with their forest plot, slices as a heat map, rows, diffs."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.gate.render.forest import reach_of
from tidegate.gate.render.lines import (
    ORDER,
    Line,
    asked_of_slices,
    diffs_of,
    named,
    number,
    rule_line,
    rules_in_order,
    shown_gain,
    side_words,
    slice_line,
    slice_lines,
)
from tidegate.gate.render.safe import html, short
from tidegate.gate.wording import noun_of
from tidegate.records.report import Curve, Report, RuleResult, Shown
from tidegate.records.verdict import Verdict

SIGNS = {Verdict.PASS: "✓", Verdict.FAIL: "✕", Verdict.INCONCLUSIVE: "?", Verdict.INVALID: "!"}
_WIDTH, _HEIGHT = 240, 26
_HEATED = 60
_LISTED = 120
"""Slices in the tables of all rules together."""


def rules_table(report: Report) -> str:
    """Every rule, what stops the release first, with its reason below it."""
    if not report.rules:
        return ""
    rows = [_rule(rule_line(rule, report.rows)) for rule in rules_in_order(report)]
    head = _head("rule", "candidate#", "champion#", "gain (interval)#", "worse | better", "verdict")
    return f'<h2>Rules</h2>{_wide("Rules", f"""<table class="rules">{head}<tbody>{"".join(rows)}</tbody></table>""")}'


def heat_map(report: Report) -> str:
    """Slices by rules, coloured by where the gain lies against its bound; what stops the release comes first."""
    sliced = [rule for rule in rules_in_order(report) if rule.slices]
    if not sliced:
        return ""
    noun = noun_of(report.task)
    cells: dict[str, dict[int, Line]] = {}
    for place, rule in enumerate(sliced):
        for part in rule.slices:
            line = slice_line(rule, part)
            cells.setdefault(line.name, {})[place] = line
    order = sorted(cells, key=lambda name: min((ORDER.index(line.verdict), _heat(line)) for line in cells[name].values()))
    head = _head("slice", f"{noun}#", *(f"{named(rule)}: {asked_of_slices(rule)}" for rule in sliced))
    rows = "".join(
        f'<tr><th scope="row">{html(short(name))}</th><td class="number">{max(line.rows for line in cells[name].values()):,}</td>'
        + "".join(_heat_cell(cells[name].get(place), noun) for place in range(len(sliced)))
        + "</tr>"
        for name in order[:_HEATED]
    )
    more = f"<p>{len(order) - _HEATED:,} more slices are not shown; they pass more clearly.</p>" if len(order) > _HEATED else ""
    explained = (
        "Each cell is the gain on that slice, right and plus being good. The stronger the colour, the clearer the case. "
        "✓ holds, ✕ fails, ? these rows cannot tell."
    )
    table = f'<table class="heat">{head}<tbody>{rows}</tbody></table>'
    most = max(_LISTED // len(sliced), 10)
    folds = "".join(_slices(rule, noun_of(report.task, rule.test), most) for rule in sliced)
    return f"<h2>Slices</h2><p>{explained}</p>{_wide('Slices', table)}{more}{folds}"


def rows_shown(report: Report) -> str:
    """Rows that explain a rule's verdict."""
    return "".join(
        f"<h3>{html(named(rule))}: rows that explain it</h3>{_rows(named(rule), rule.shown)}"
        for rule in report.rules
        if rule.shown
    )


def flips_table(report: Report) -> str:
    """How many rows changed sides, and the worst of those that were lost."""
    if report.flips is None:
        return ""
    said = f"<h2>Rows that changed sides</h2><p>{html(side_words(report))}</p>"
    if not report.flips.worst:
        return said
    return (
        f"{said}<p>The worst of those that only the champion has:</p>{_rows('The worst rows that were lost', report.flips.worst)}"
    )


def confusion_table(report: Report) -> str:
    """The pairs of classes that are taken for each other most."""
    curves = [curve for curve in report.curves if curve.kind == "confusion"]
    return "".join(f"<h2>What is taken for what</h2>{_confusion(curve)}" for curve in curves)


def explored_table(report: Report) -> str:
    """Slices that nobody asked about."""
    if not report.explored:
        return ""
    rows = [
        (each.where, f"{each.rows:,}", each.metric, shown_gain(each.difference), f"{each.p:.2g}", each.note)
        for each in report.explored
    ]
    table = _table(
        "Explored slices", ("slice", f"{noun_of(report.task)}#", "metric", "candidate minus champion#", "p, adjusted#", ""), rows
    )
    return f"<h2>Slices that nobody asked about</h2><p>The candidate looks worse there. They do not decide.</p>{table}"


def diffs(report: Report) -> str:
    """Four folded diffs."""
    if report.diffs is None:
        return ""
    found = diffs_of(report)
    if not any((report.diffs.code, report.diffs.data, report.diffs.model)):  # a file of predictions: nothing else is known
        found = [(name, changes) for name, changes in found if changes]
    folds = "".join(
        f"<details><summary>{name}: {len(changes)} {'line' if len(changes) == 1 else 'lines'}</summary>"
        f"{_table(name, ('what', 'champion', 'candidate'), [(c.what, c.before, c.after) for c in changes])}</details>"
        if changes
        else f'<p class="dim">{name}: nothing that is known differs.</p>'
        for name, changes in found
    )
    return f"<h2>What changed</h2>{folds}" if found else ""


def _rule(line: Line) -> str:
    champion = number(line.champion.estimate) if line.champion else "-"
    return (
        f'<tr class="{line.verdict}"><th scope="row">{html(line.name)}<small>{html(line.asked)}</small></th>'
        f'<td class="number">{number(line.candidate.estimate)}</td><td class="number">{champion}</td>'
        f'<td class="number">{html(shown_gain(line.gain))}</td><td class="forest">{_forest(line, reach_of([line]))}</td>'
        f'<td class="tag">{SIGNS[line.verdict]} {line.verdict}</td></tr>'
        f'<tr class="why"><td colspan="6">{html(line.reason)}</td></tr>'
    )


def _slices(rule: RuleResult, noun: str, most: int) -> str:
    lines = slice_lines(rule)
    stopped = sum(line.verdict is not Verdict.PASS for line in lines)
    reach = reach_of(lines)
    rows = "".join(
        f'<tr class="{line.verdict}"><th scope="row">{html(short(line.name))}</th><td class="number" data-v="{line.rows}">{line.rows:,}</td>'
        f'<td class="number">{number(line.candidate.estimate)}</td>'
        f'<td class="number">{number(line.champion.estimate) if line.champion else "-"}</td>'
        f'<td class="number" data-v="{_sortable(line)}">{html(shown_gain(line.gain))}</td><td class="forest">{_forest(line, reach)}</td>'
        f'<td class="tag">{SIGNS[line.verdict]} {line.verdict}</td></tr>'
        for line in lines[:most]
    )
    head = _head("slice", f"{noun}#", "candidate#", "champion#", "gain (interval)#", "worse | better", "verdict")
    more = f"; the first {most} are shown" if len(lines) > most else ""
    title = f"{named(rule)}, {asked_of_slices(rule)}: {len(lines)} slices, {f'{stopped} not passing' if stopped else 'all pass'}{more}"
    table = f'<table class="slices" data-sort>{head}<tbody>{rows}</tbody></table>'
    return f"<details><summary>{html(title)}</summary>{_wide(title, table)}</details>"


def _sortable(line: Line) -> str:
    return "" if line.gain.estimate is None else f"{line.gain.estimate:g}"


def _heat(line: Line) -> float:
    """How far the gain lies from its bound, in half intervals."""
    gain = line.gain
    if gain.estimate is None or gain.low is None or gain.high is None or gain.high <= gain.low:
        return 0.0
    return (gain.estimate - line.bound) / (gain.high - gain.low) * 2


def _heat_cell(line: Line | None, noun: str) -> str:
    if line is None:
        return '<td class="cell">-</td>'
    score = _heat(line)
    step = (
        ("h3" if score >= 2 else "h2" if score >= 1 else "h1")
        if score > 0
        else ("l3" if score <= -2 else "l2" if score <= -1 else "l1")
    )
    step = step if line.gain.low is not None else "h0"
    tip = f"{short(line.name)}, {line.rows:,} {noun}: gain {shown_gain(line.gain)}; it must lie above {number(line.bound)}"
    gain = number(line.gain.estimate) if line.gain.estimate is None else shown_gain(line.gain).split(" ")[0]
    return f'<td class="cell {step}" data-tip="{html(tip)}"><b>{SIGNS[line.verdict]}</b> {gain}</td>'


def _confusion(curve: Curve) -> str:
    theirs = curve.champion_weight or [None] * len(curve.label)
    rows = [
        (label, number(ours), number(other))
        for label, ours, other in zip(curve.label, curve.candidate_weight, theirs, strict=True)
    ]
    return _table("What is taken for what", ("taken for", "candidate#", "champion#"), rows)


def _rows(title: str, rows: Sequence[Shown]) -> str:
    noted = any(row.note for row in rows)
    cells = [(row.key, row.label, row.candidate, row.champion, *([row.note] if noted else [])) for row in rows]
    return _table(title, ("row", "label", "candidate", "champion", *(["note"] if noted else [])), cells)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    numeric = [name.endswith("#") for name in head]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{html(short(cell))}</td>' if right else f"<td>{html(short(cell, 200))}</td>"
            for cell, right in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return _wide(title, f"<table data-sort>{_head(*head)}<tbody>{body}</tbody></table>")


def _head(*names: str) -> str:
    """A head; a name that ends with # stands over numbers."""
    cells = "".join(
        f'<th scope="col" class="number">{html(name[:-1])}</th>' if name.endswith("#") else f'<th scope="col">{html(name)}</th>'
        for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"


def _wide(title: str, table: str) -> str:
    """What may be wider than a phone scrolls by itself, by the keyboard too."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{html(title)}">{table}</div>'


def _forest(line: Line, reach: tuple[float, float]) -> str:
    """One line of a forest plot: the interval of the gain, zero, and the bound as a dashed line."""
    gain = line.gain
    if gain.estimate is None or gain.low is None or gain.high is None:
        return ""
    left, right = reach

    def x(value: float) -> str:
        return f"{(value - left) / (right - left) * _WIDTH:.1f}"

    middle = _HEIGHT // 2
    tip = html(f"gain {shown_gain(gain)}; it must lie above {number(line.bound)}")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{tip}" data-tip="{tip}">'
        f'<path class="zero" d="M{x(0)} 0V{_HEIGHT}"/><path class="bound" d="M{x(line.bound)} 0V{_HEIGHT}"/>'
        f'<path class="bar" d="M{x(gain.low)} {middle}H{x(gain.high)}M{x(gain.low)} {middle - 5}v10M{x(gain.high)} {middle - 5}v10"/>'
        f'<circle cx="{x(gain.estimate)}" cy="{middle}" r="4.5"/></svg>'
    )

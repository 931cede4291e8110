"""``tidegate monitor``: the windows of a model's prediction log, what was found in them, and the labels that came."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate import frames
from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time
from tidegate.errors import NotFoundError
from tidegate.monitoring import Labels, list_alerts
from tidegate.records.monitoring import Finding, Window

app = typer.Typer(
    help="What was served, how it drifts, how well it does.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

Model = Annotated[str, typer.Argument(metavar="MODEL")]


@app.command()
def status(model: Model, as_json: Json = False) -> None:
    """The newest closed window: every finding against its bound, and the alerts that stand."""
    workspace = open_workspace()
    windows = workspace.monitor(model).windows(limit=1)
    alerts = list_alerts(workspace.store.documents, model, limit=20)
    if as_json:
        print_json({"model": model, "window": windows[0] if windows else None, "alerts": alerts})
        return
    if not windows:
        typer.echo(f"{model}: no window was closed yet")
        next_command("tidegate tick")
        return
    window = windows[0]
    print_table(
        f"{model}, {_days(window)}: {window.rows:,} predictions of versions {_versions(window)}, {_labelled(window)}",
        ["", "finding", "subject", "is", "bound", "ratio", "note"],
        [_finding_row(finding) for finding in sorted(window.findings, key=_by_harm)],
    )
    for alert in alerts[:5]:
        typer.echo(f"{alert.severity}: {alert.message}")
    next_command(f"tidegate monitor windows {model}")


@app.command()
def windows(
    model: Model,
    limit: Annotated[int, typer.Option(help="So many of the newest ones; 0: all.")] = 30,
    as_json: Json = False,
) -> None:
    """The closed windows: rows, labels, performance, and what crossed its bound."""
    found = open_workspace().monitor(model).windows(limit=limit)
    if as_json:
        print_json({"model": model, "windows": found})
        return
    rows = [[_days(window), f"{window.rows:,}", _labelled(window), _performance(window), _crossed(window)] for window in found]
    print_table(
        f"windows of {model}", ["days", "rows", "labels", "performance", "crossed its bound"], rows, empty="none was closed yet"
    )
    next_command(f"tidegate monitor status {model}")


@app.command()
def labels(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet or CSV with prediction_id, label, known_at.")],
    as_json: Json = False,
) -> None:
    """Add labels. Rows that are there already count for nothing; of different labels for a prediction the newest one counts."""
    workspace = open_workspace()
    if model not in workspace.policies and not workspace.release.history(model):
        raise NotFoundError("no-such-model", f"there is no model {model!r}", fix="tidegate model list")
    store = Labels(workspace.store.bucket, model)
    added = store.add(file)
    with frames.connect() as con:
        disputed = len(frames.to_columns(store.conflicts(con, *_span_of(con, file)))["prediction_id"])
    if as_json:
        print_json({"model": model, "added": added, "conflicts": disputed})
        return
    typer.echo(
        f"{added:,} labels added" + (f"; {disputed:,} predictions have different labels, the newest counts" if disputed else "")
    )
    next_command("tidegate tick")


def _span_of(con: frames.Connection, file: Path) -> tuple[int, int]:
    """The span of days around the labels of a file, in which conflicts are looked for."""
    known = frames.to_columns(frames.relation(con, file).project("epoch_us(known_at::TIMESTAMP) AS known_at"))["known_at"]
    return (int(known.min()), int(known.max()) + 1) if known.size else (0, 0)


def _days(window: Window) -> str:
    return f"{format_time(window.start)[:10]} to {format_time(window.end)[:10]}"


def _versions(window: Window) -> str:
    return ", ".join(map(str, window.versions)) or "none"


def _labelled(window: Window) -> str:
    return f"{window.labelled / window.rows:.0%} labelled" if window.rows else "no rows"


def _performance(window: Window) -> str:
    told = [
        f"{finding.subject} {finding.statistic:.4g}" + (f" of v{finding.version}" if len(window.versions) > 1 else "")
        for finding in window.findings
        if finding.kind == "performance" and finding.statistic is not None
    ]
    return ", ".join(told) or "unknown"


def _crossed(window: Window) -> str:
    crossed = sorted((finding for finding in window.findings if (finding.ratio or 0) > 1), key=_by_harm)
    shown = [f"{finding.kind.replace('_', ' ')} {finding.subject} ({finding.ratio:.1f})" for finding in crossed[:4]]
    return ", ".join(shown) + (f" and {len(crossed) - 4} more" if len(crossed) > 4 else "")


def _by_harm(finding: Finding) -> tuple[bool, float]:
    return finding.ratio is None, -(finding.ratio or 0.0)


def _finding_row(finding: Finding) -> list[str]:
    mark = "?" if finding.ratio is None else "!" if finding.ratio > 1 else ""
    interval = f" ({finding.low:.4g} to {finding.high:.4g})" if finding.low is not None and finding.high is not None else ""
    return [
        mark,
        finding.kind.replace("_", " "),
        finding.subject + (f" (v{finding.version})" if finding.version else ""),
        "" if finding.statistic is None else f"{finding.statistic:.4g}{interval}",
        "" if finding.bound is None else f"{finding.bound:.4g}",
        "" if finding.ratio is None else f"{finding.ratio:.2f}",
        finding.note,
    ]

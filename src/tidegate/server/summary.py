"""What serves, is it ok, what needs a person: one summary per model, made of the store's records."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tidegate.digest import short
from tidegate.errors import ApprovalMissing, TidegateError
from tidegate.monitoring.alerts import SEVERITIES
from tidegate.records.decision import Decision, DecisionState
from tidegate.records.ledger import Judged, LedgerEntry, Promoted, RolledBack
from tidegate.records.model import ModelVersion
from tidegate.records.monitoring import Alert, Finding, Severity, Window
from tidegate.records.policy import ModelPolicy
from tidegate.records.verdict import Verdict
from tidegate.server.stored import newest_windows, read_decisions
from tidegate.workspace import Workspace

PAGING = frozenset(kind for kind, severity in SEVERITIES.items() if severity is Severity.PAGE)
"""Kinds of findings that ask for a person when they cross their bound; drift only explains."""


class Condition(StrEnum):
    """How a model does. UNKNOWN is never shown as good."""

    OK = "ok"
    TROUBLE = "trouble"
    UNKNOWN = "unknown"


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person must do now: what, why, the command that does it, and the page that helps to decide."""

    model: str
    what: str
    why: str
    command: str
    link: str


class ServingSince(msgspec.Struct, frozen=True, kw_only=True):
    """The champion: its version and digest, and the ledger entry that put it there. Version 0: nothing serves."""

    version: int = 0
    digest: str = ""
    at: int = 0
    actor: str = ""
    how: str = ""
    receipt: str = ""
    verdict: Verdict | None = None


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One model on the overview."""

    name: str
    task: str
    owner: str
    versions: list[int]
    champion: ServingSince
    condition: Condition
    sentence: str
    frozen: str
    performance: list[Finding]
    """The champion's performance findings of the newest window; empty when there is none."""
    window: Window | None
    recent: list[float | None]
    """The first performance metric of the newest windows, oldest first; None where it is not known."""
    bound: float | None
    needs: list[Need]
    open_decision: Decision | None


def summarise(workspace: Workspace, name: str) -> ModelSummary:
    """Everything about one model that the overview shows."""
    versions = workspace.models.list(name)
    policy = workspace.policies.get(name)
    entries = workspace.release.history(name)
    state = workspace.release.state(name)
    champion = serving_since(entries)
    windows = newest_windows(workspace, name, limit=60)
    window = windows[-1] if windows else None
    condition, sentence = _condition(champion, window)
    decision = next((item for item in read_decisions(workspace, name) if not item.state.is_final), None)
    findings = champions_findings(window, champion.version, "performance") if window else []
    needs = [
        *_promotion_needs(workspace, name, entries, champion, policy),
        *_other_needs(name, versions, entries, champion, decision),
    ]
    return ModelSummary(
        name=name,
        task=policy.task if policy else (versions[0].manifest.task if versions else ""),
        owner=policy.owner if policy else "",
        versions=[version.version for version in versions],
        champion=champion,
        condition=condition,
        sentence=sentence,
        frozen=state.frozen,
        performance=findings,
        window=window,
        recent=[_first_metric(item) for item in windows],
        bound=next((bound for item in reversed(windows) if (bound := _bound(item)) is not None), None),
        needs=needs,
        open_decision=decision,
    )


def model_names(workspace: Workspace) -> list[str]:
    """Every model that is registered or declared, sorted."""
    return sorted({*workspace.model_names(), *workspace.policies})


def serving_since(entries: list[LedgerEntry]) -> ServingSince:
    """The champion of a ledger, with the receipt that it was promoted on and that receipt's verdict."""
    receipts: dict[str, str] = {}
    verdicts: dict[str, Verdict] = {}
    found = ServingSince()
    for entry in entries:
        event = entry.event
        if isinstance(event, Judged):
            verdicts[event.receipt] = event.verdict
        elif isinstance(event, Promoted | RolledBack):
            if isinstance(event, Promoted):
                receipts[event.digest] = event.receipt
            receipt = receipts.get(event.digest, "")
            found = ServingSince(
                version=event.version,
                digest=event.digest,
                at=entry.at,
                actor=entry.actor,
                how=_how(event),
                receipt=receipt,
                verdict=verdicts.get(receipt),
            )
    return found


def _how(event: Promoted | RolledBack) -> str:
    if isinstance(event, RolledBack):
        return "rolled back to"
    return "promoted past the gate" if event.break_glass else "promoted ungated" if event.ungated else "promoted"


def champions_findings(window: Window, version: int, kind: str) -> list[Finding]:
    """Findings of a kind about one version: its own where there are any, else those about all versions together."""
    of_kind = [finding for finding in window.findings if finding.kind == kind]
    return [finding for finding in of_kind if finding.version == version] or [
        finding for finding in of_kind if finding.version == 0 and window.versions == [version]
    ]


def _first_metric(window: Window) -> float | None:
    found = _headline(window)
    return found.statistic if found else None


def _bound(window: Window) -> float | None:
    found = _headline(window)
    return found.bound if found else None


def urgency(alert: Alert) -> tuple[int, bool]:
    """Sorts alerts by their window, and within one those that page above the others."""
    return (alert.window_end, alert.severity is Severity.PAGE)


def _headline(window: Window) -> Finding | None:
    """The newest version's finding of the metric that is declared first."""
    found = [finding for finding in window.findings if finding.kind == "performance"]
    return next((finding for finding in found if finding.version == max(item.version for item in found)), None)


def _condition(champion: ServingSince, window: Window | None) -> tuple[Condition, str]:
    if not champion.version:
        return Condition.UNKNOWN, "Nothing serves: no version has been promoted."
    if window is None:
        return Condition.UNKNOWN, "No window of its predictions has been closed yet."
    if window.rows == 0:
        return Condition.TROUBLE, "It was asked nothing in its newest window."
    if champion.version not in window.versions:
        served = ", ".join(str(version) for version in window.versions)
        return Condition.UNKNOWN, f"Its newest window was served by version {served}; this one has no window yet."
    crossed = [
        finding for finding in window.findings if finding.kind in PAGING and finding.ratio is not None and finding.ratio > 1
    ]
    if crossed:
        worst = max(crossed, key=lambda finding: finding.ratio or 0.0)
        more = f", and {len(crossed) - 1} more" if len(crossed) > 1 else ""
        return Condition.TROUBLE, f"{worst.kind.replace('_', ' ').capitalize()} of {worst.subject} crossed its bound{more}."
    performance = champions_findings(window, champion.version, "performance")
    if not performance or any(finding.ratio is None for finding in performance):
        return Condition.UNKNOWN, "Its performance is not known yet: too few labels, or no bound."
    return Condition.OK, "Performance and data quality are within their bounds."


def _promotion_needs(
    workspace: Workspace, name: str, entries: list[LedgerEntry], champion: ServingSince, policy: ModelPolicy | None
) -> list[Need]:
    """The newest version that passed and does not serve: who must approve or promote it."""
    judged = {entry.event.version: entry.event for entry in entries if isinstance(entry.event, Judged)}
    waiting = max((version for version, event in judged.items() if event.verdict is Verdict.PASS), default=0)
    was_promoted = {entry.event.version for entry in entries if isinstance(entry.event, Promoted)}
    if waiting <= champion.version or waiting in was_promoted or policy is None:
        return []
    ref = f"{name}@{waiting}"
    link = f"/models/{name}/receipts/{judged[waiting].receipt}"
    try:
        refusal = workspace.release.plan(name, waiting, policy=policy).refusal
    except TidegateError as error:  # its receipt is gone or was changed: the other models are shown all the same
        return [
            Need(model=name, what=f"Look at {ref}", why=f"{error.what}.", command="tidegate store verify", link=f"/models/{name}")
        ]
    if refusal is None:
        return [
            Need(
                model=name,
                what=f"Promote {ref}",
                why="It passed the gate and is approved.",
                command=f"tidegate promote {ref}",
                link=link,
            )
        ]
    if isinstance(refusal, ApprovalMissing):
        return [
            Need(
                model=name,
                what=f"Approve {ref}, or decline it",
                why=_sentence(refusal),
                command=f"tidegate approve {ref}",
                link=link,
            )
        ]
    if refusal.code in {"pointer-moved", "receipt-expired"}:
        return [Need(model=name, what=f"Judge {ref} again", why=_sentence(refusal), command=f"tidegate gate {ref}", link=link)]
    return []


def _sentence(error: TidegateError) -> str:
    return f"It passed the gate; {error.what}."


def _other_needs(
    name: str, versions: list[ModelVersion], entries: list[LedgerEntry], champion: ServingSince, decision: Decision | None
) -> list[Need]:
    found: list[Need] = []
    judged = {entry.event.version for entry in entries if isinstance(entry.event, Judged)}
    newest = versions[0].version if versions else 0
    if newest > champion.version and newest not in judged:
        ref = f"{name}@{newest}"
        found.append(
            Need(
                model=name,
                what=f"Judge {ref}",
                why="It is registered and the gate has not seen it.",
                command=f"tidegate gate {ref}",
                link=f"/models/{name}/versions/{newest}",
            )
        )
    if decision is not None and decision.state in {DecisionState.OPEN, DecisionState.TRAINED}:
        found.append(
            Need(
                model=name,
                what=f"Let the loop answer decision {short(decision.id)}",
                why=decision.reason,
                command="tidegate tick",
                link=f"/decisions/{decision.id}",
            )
        )
    return found


def trouble_need(summary: ModelSummary, alerts: list[Alert]) -> Need | None:
    """The newest paging alert of a model in trouble, as something to look at."""
    if summary.condition is not Condition.TROUBLE or summary.open_decision is not None:
        return None
    mine = [alert for alert in alerts if alert.model == summary.name and alert.kind in PAGING]
    newest = max(mine, key=lambda alert: alert.window_end, default=None)
    why = newest.message[:1].upper() + newest.message[1:] + "." if newest else summary.sentence
    return Need(
        model=summary.name,
        what=f"Look at {summary.name}",
        why=why,
        command=f"tidegate monitor status {summary.name}",
        link=f"/monitoring/{summary.name}",
    )

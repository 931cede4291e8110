"""The nine chapters of the flights demo. Each does real work through the public API or the command line and returns numbers.

The clock is the data's: every chapter says what time it is, and nothing that became known later is on the disk.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidegate import frames
from tidegate.clock import DAY, format_time, from_us, parse_time
from tidegate.demo.replay import Replay, days
from tidegate.demo.stage import APPROVER, AUTHOR, LOOP, MODEL, Advance, Server, Stage, set_up
from tidegate.frames import literal, quote
from tidegate.gate import read_report
from tidegate.records.decision import DecisionState
from tidegate.records.pipeline import StepState
from tidegate.records.report import Report, RuleResult
from tidegate.records.verdict import Verdict
from tidegate.workspace import Judged, Workspace

NEW_YEAR = "2013-01-01"
SPRING = "2013-05-01"
LAUNCH = "2013-06-01"
AUTUMN = "2013-09-01"
EVERYTHING = "2014-01-01"
ROLLBACK_AFTER = 14 * DAY
ROLLBACK_SECONDS = 2.0
PAGES = ["/", "/runs", f"/models/{MODEL}", f"/monitoring/{MODEL}", "/decisions", "/data", "/health"]

Numbers = dict[str, Any]


class StoryError(Exception):
    """Something that the story promises did not happen."""


def require(condition: bool, promise: str) -> None:
    """Ends the chapter as not ok unless the promise was kept."""
    if not condition:
        raise StoryError(promise)


def data(stage: Stage) -> Numbers:
    """Raw tables become snapshots with contracts; a corrupted copy is refused with the rows that broke it."""
    set_up(stage.folder)
    _ingest(stage, LAUNCH)
    workspace = stage.workspace(LAUNCH)
    corrupted = stage.data / "corrupted.parquet"
    with frames.connect() as con:
        table = f"read_parquet({literal(str(stage.data / 'flights.parquet'))}, file_row_number = true)"
        distance = "CASE WHEN file_row_number % 50000 = 7 THEN -distance ELSE distance END AS distance"
        frames.write_parquet(con.sql(f"SELECT * EXCLUDE file_row_number REPLACE ({distance}) FROM {table}"), corrupted)
    answer = stage.tidegate(
        "data", "snapshot", str(corrupted), "flights", "--contract", str(_contract(stage, "flights")), now=LAUNCH
    )
    require(answer.code != 0 and answer.value["error"]["code"] == "contract-broken", "the corrupted copy is refused")
    stage.say(answer.value["error"]["what"])
    stage.say(answer.value["error"]["why"])
    corrupted.unlink()
    frozen = _freeze(workspace, LAUNCH, start=SPRING)
    snapshots = {snapshot.ref: snapshot.rows for snapshot in workspace.datasets.list()}
    stage.say(f"snapshots: {', '.join(f'{ref} ({rows:,} rows)' for ref, rows in sorted(snapshots.items()))}")
    return {"snapshots": snapshots, "evaluation": frozen, "refused": answer.value["error"]}


def features(stage: Stage) -> Numbers:
    """All features as they were known one hour before departure: rows out are rows in, and nothing comes from the future."""
    project = _project(stage, "features")
    workspace = stage.workspace(LAUNCH)
    flights, weather = _paths(workspace)
    with frames.connect() as con:
        span = f"asked_at >= {literal(NEW_YEAR)} AND asked_at < {literal(LAUNCH)}"
        asked = len(frames.relation(con, flights).filter(span).project("flight_id"))
        columns = frames.to_columns(project.flight_rows(con, flights, weather, start=NEW_YEAR, until=LAUNCH))
    rows = len(columns["flight_id"])
    require(rows == asked, "rows out are rows in")
    known = {name: round(float(np.mean(~_nulls(columns[name]))), 4) for view in project.VIEWS for name in view.names}
    stage.say(f"{asked:,} flights in, {rows:,} rows out, {len(known)} features")
    stage.say("known when asked: " + ", ".join(f"{name} {share:.0%}" for name, share in known.items()))
    written = workspace.features.materialize(project.WEATHER, at=parse_time(LAUNCH))
    online = workspace.features.online(project.WEATHER, ["EWR", "JFK", "LGA"], at=parse_time(LAUNCH))
    stage.say(
        f"online: {written} airports; JFK now: {', '.join(f'{k} {v}' for k, v in online[1].items() if k in project.WEATHER.names)}"
    )
    return {"rows_in": asked, "rows_out": rows, "known_share": known, "online_rows": written}


def train(stage: Stage) -> Numbers:
    """A pipeline of plain functions trains the first model on January to April; a second run is all cache hits."""
    workspace = stage.workspace(LAUNCH)
    first = workspace.run_pipeline("pipelines:schedule")
    second = stage.tidegate("pipeline", "run", "pipelines:schedule", now=LAUNCH)
    states = [step["state"] for step in second.value["steps"]]
    require(first.version is not None, "the pipeline's result became a version")
    require(all(state == StepState.CACHED for state in states), "the second run is all cache hits")
    assert first.version is not None
    parity = first.version.manifest.parity
    stage.say(
        f"{first.version.ref}: {first.version.manifest.description} ({first.version.manifest.format}, {first.version.manifest.size:,} bytes)"
    )
    if parity:
        stage.say(
            f"compiled model against the original on {parity.rows} rows: largest difference {parity.largest_difference:.1e}"
        )
    stage.say(f"second run: {len(states)} of {len(states)} steps from the cache")
    return {
        "version": first.version.ref,
        "digest": first.version.digest,
        "run": first.run_id,
        "seconds_by_step": {step.step: round(step.seconds, 2) for step in first.steps},
        "second_run": states,
    }


def first_gate(stage: Stage) -> Numbers:
    """With no champion yet, the first version must beat the declared baseline and floors on May; then consent, then promotion."""
    judged = _judge(stage, f"{MODEL}@1", LAUNCH)
    require(judged.verdict is Verdict.PASS, "the first version passes")
    early = stage.tidegate("promote", f"{MODEL}@1", now=LAUNCH)
    require(early.code == 6, "without an approval nothing is promoted (exit 6)")
    stage.say(f"promote without approval: exit {early.code}, {early.value['error']['what']}")
    _approve_and_promote(stage, 1, LAUNCH)
    return {**_numbers(judged.report), "promote_without_approval_exit": early.code, "champion": 1}


def better_and_worse(stage: Stage) -> Numbers:
    """A better model passes; one that peeks is INVALID; one trained on a broken join is FAIL with its worst slices named."""
    workspace = stage.workspace(LAUNCH)
    told: Numbers = {}
    for name, expected in (("live", Verdict.PASS), ("peeking", Verdict.INVALID), ("misjoined", Verdict.FAIL)):
        version = workspace.run_pipeline(f"pipelines:{name}").version
        require(version is not None, f"{name} trained")
        assert version is not None
        judged = _judge(stage, version.ref, LAUNCH)
        require(judged.verdict is expected, f"{name} is {expected}")
        told[name] = {"version": version.ref, **_numbers(judged.report)}
        if expected is Verdict.PASS:
            _approve_and_promote(stage, version.version, LAUNCH)
            told["champion"] = version.version
    require(told["peeking"]["problems"][0]["code"] == "feature-not-available", "the peeking feature is named")
    require(bool(told["misjoined"]["worst_slices"]), "the worst slices are named")
    stage.say("worst slices of the broken join: " + ", ".join(told["misjoined"]["worst_slices"][:4]))
    return told


def serve_june(stage: Stage) -> Numbers:
    """A server of its own; June is asked about over HTTP in time order; labels come with their real lag; weeks are closed."""
    project = _project(stage, "features")
    full = stage.folder / "data" / "replay"
    paths = _project(stage, "prepare").write_tables(full, known_at=EVERYTHING)
    with frames.connect() as con:
        rows = project.flight_rows(con, paths["flights"], paths["weather"], start=LAUNCH, until=AUTUMN)
        inputs = sorted({*project.LIVE_INPUTS})
        names = ", ".join(quote(name) for name in ("asked_at", "landed_at", "late", *inputs))
        table = frames.to_columns(rows.order("asked_at, flight_id").project(names))
    replay = Replay.of(table, inputs)
    server = Server(stage.folder, "serve", MODEL)
    stage.served.update(server=server, replay=replay, at=LAUNCH, windows=[], alerts=[])
    stage.say(server.line)
    with _bar(stage, "June, over HTTP", LAUNCH, AUTUMN) as advance:
        _live_until(stage, lambda: bool(_open_decisions(stage)), advance)
    windows = stage.served["windows"]
    require(len(windows) >= 3, "weeks were closed")
    require(not replay.failed, f"no request failed ({replay.failed[:1]})")
    for window in windows:
        stage.say(_window_line(window))
    metrics = server.get("/metrics")
    require("model_request_duration_seconds" in metrics, "the server tells Prometheus its latency")
    return {
        "until": stage.served["at"],
        "requests": replay.requests,
        "predictions": len(replay.ids),
        "labels": replay.labelled,
        "failed_requests": len(replay.failed),
        "windows": [_window_numbers(window) for window in windows],
    }


def summer(stage: Stage) -> Numbers:
    """Summer degrades it: an alert opened a decision, tick retrained, the gate compared; a person approves; tick promotes."""
    now = stage.served["at"]
    decision = _open_decisions(stage)[0]
    alerts = [alert for alert in stage.served["alerts"] if alert["severity"] == "page"]
    require(bool(alerts), "performance raised an alert")
    stage.say(f"alert: {alerts[0]['message']}")
    require(decision["state"] == DecisionState.WAITING, "the decision waits for approval")
    workspace = stage.workspace(now)
    receipt = workspace.release.receipt(MODEL, decision["receipt"])
    report = read_report(workspace.store.bucket, MODEL, decision["receipt"])
    stage.say(f"{MODEL}@{decision['candidate']} against the champion on {receipt.snapshot}: {report.verdict}. {report.sentence}")
    approved = stage.tidegate(
        "approve", f"{MODEL}@{decision['candidate']}", "--comment", "summer needs summer data", now=now, actor=APPROVER
    )
    require(approved.code == 0, "ben approves")
    ticked = stage.tidegate("tick", now=now, actor=LOOP)
    require(ticked.code == 0, "tick promotes")
    champion = workspace.release.pointer(MODEL).champion.version
    require(champion == decision["candidate"], "the approved candidate is the champion")
    stage.say(f"approved by {APPROVER}, promoted by {LOOP}: {MODEL}@{champion}")
    return {
        "at": now,
        "alert": alerts[0]["message"],
        "decision": decision["id"],
        "snapshot": receipt.snapshot,
        "candidate": decision["candidate"],
        "champion": champion,
        **_numbers(report),
    }


def follow_and_roll_back(stage: Stage) -> Numbers:
    """The server follows the pointer without a failed request; then a rollback, everywhere in under two seconds; and forward."""
    server, replay = stage.served["server"], stage.served["replay"]
    now = stage.served["at"]
    workspace = stage.workspace(now)
    champion = workspace.release.pointer(MODEL).champion.version
    followed = _until_served(server, champion)
    later = from_us(parse_time(now) + ROLLBACK_AFTER).date().isoformat()
    with _bar(stage, "July and August, over HTTP", now, AUTUMN) as advance:
        _live(stage, now, later, advance)
        end = from_us(parse_time(later) + 7 * DAY).date().isoformat()
        background = threading.Thread(target=replay.ask, args=(server.host, server.port, later, end), kwargs={"advance": advance})
        background.start()
        back, seconds = _roll_back(stage, later)
        forward = _forward(stage, champion, later)
        background.join()
        _live(stage, later, AUTUMN, advance, asked_until=end)
    stage.say(
        f"rolled back to {MODEL}@{back} in {seconds:.2f} s: ledger, pointer and server agree; forward again to {MODEL}@{champion}"
    )
    served = {f"{MODEL}@{version}": count for version, count in sorted(replay.versions.items())}
    stage.say(f"{replay.requests:,} requests, {len(replay.failed)} failed; flights by version: {served}")
    require(seconds < ROLLBACK_SECONDS, f"the rollback took {seconds:.2f} s")
    require(not replay.failed, f"no request failed ({replay.failed[:1]})")
    require(workspace.release.verify(MODEL) == [], "the ledger verifies")
    code = server.stop()
    require(code == 0, "the server drained and stopped")
    return {
        "follow_seconds": round(followed, 3),
        "rollback_seconds": round(seconds, 3),
        "rolled_back_to": back,
        "forward_to": champion,
        "forward_seconds": round(forward, 3),
        "requests": replay.requests,
        "failed_requests": len(replay.failed),
        "predictions_by_version": served,
        "labels": replay.labelled,
        "windows": len(stage.served["windows"]),
        "ledger_entries": len(workspace.release.history(MODEL)),
    }


def examine(stage: Stage) -> Numbers:
    """Doctor tells the maturity level, red flags and the evidence; the web pages show all of it."""
    verified = stage.tidegate("store", "verify", now=AUTUMN)
    require(verified.code == 0, "everything is as it was recorded")
    doctor = stage.tidegate("doctor", now=AUTUMN)
    level = doctor.value["level"]
    stage.say(
        f"maturity level {level} of 4"
        + (f", the next is blocked by: {doctor.value['blocked_by']}" if doctor.value["blocked_by"] else "")
    )
    for flag in doctor.value["red_flags"]:
        stage.say(f"red flag: {flag}")
    pages = _pages(stage)
    require(all(status == 200 for status in pages.values()), f"every page answers: {pages}")
    stage.say(f"{verified.value['objects']} objects verified; {len(pages)} web pages answer")
    stage.say(f"look at it, on the evening of the last day: tidegate -C {stage.folder} --now {AUTUMN} ui")
    return {
        "level": level,
        "blocked_by": doctor.value["blocked_by"],
        "red_flags": doctor.value["red_flags"],
        "checks": {check["name"]: check["state"] for check in doctor.value["checks"]},
        "objects_verified": verified.value["objects"],
        "pages": pages,
    }


CHAPTERS: list[Callable[[Stage], Numbers]] = [
    data,
    features,
    train,
    first_gate,
    better_and_worse,
    serve_june,
    summer,
    follow_and_roll_back,
    examine,
]


def _project(stage: Stage, module: str) -> Any:
    if str(stage.folder) not in sys.path:
        sys.path.insert(0, str(stage.folder))
    return importlib.import_module(module)


def _contract(stage: Stage, name: str) -> Path:
    return stage.folder / "contracts" / f"{name}.yaml"


def _ingest(stage: Stage, now: str) -> None:
    """What a nightly job does: the tables as they are known now, as snapshots under contract."""
    tables = _project(stage, "prepare").write_tables(stage.data, known_at=now)
    datasets = stage.workspace(now).datasets
    for name, path in tables.items():
        datasets.snapshot(path, name, contract=_contract(stage, name), message=f"as known at {now}")


def _freeze(workspace: Workspace, now: str, *, start: str) -> str:
    return importlib.import_module("evaluation").freeze(workspace, now, start=start)


def _paths(workspace: Workspace) -> tuple[Path, Path]:
    flights, weather = (workspace.datasets.path(workspace.datasets.get(name)) for name in ("flights", "weather"))
    return flights, weather


def _nulls(values: Any) -> Any:
    return np.array([value is None for value in values]) if values.dtype.kind == "O" else np.isnan(values.astype(np.float64))


def _judge(stage: Stage, ref: str, now: str) -> Judged:
    judged = stage.workspace(now).judge(ref)
    stage.say(f"{ref}: {judged.verdict}. {judged.report.sentence}")
    return judged


def _approve_and_promote(stage: Stage, version: int, now: str) -> None:
    ref = f"{MODEL}@{version}"
    for answer in (
        stage.tidegate("approve", ref, now=now, actor=APPROVER),
        stage.tidegate("promote", ref, now=now, actor=AUTHOR),
    ):
        require(answer.code == 0, f"{ref} is approved and promoted: {answer.value}")
    stage.say(f"{ref}: approved by {APPROVER}, promoted by {AUTHOR}")


def _numbers(report: Report) -> Numbers:
    """Verdict, and for each rule the difference with its interval, as the demo's JSON tells them."""
    return {
        "verdict": report.verdict,
        "sentence": report.sentence,
        "against": report.champion,
        "rows": report.rows,
        "rules": [_rule(rule) for rule in report.rules],
        "worst_slices": _worst(report.rules),
        "problems": [{"code": problem.code, "what": problem.what} for problem in report.problems],
    }


def _rule(rule: RuleResult) -> Numbers:
    interval = rule.difference if rule.difference is not None and rule.test != "floor" else rule.candidate
    return {
        "metric": rule.metric,
        "test": rule.test,
        "verdict": rule.verdict,
        "estimate": interval.estimate,
        "interval": [interval.low, interval.high],
    }


def _worst(rules: list[RuleResult]) -> list[str]:
    """The slices that fail, the worst first."""
    failed = [
        (abs(item.difference.estimate), f"{item.column}={item.value} ({rule.metric} {item.difference.estimate:+.3f})")
        for rule in rules
        for item in rule.slices
        if item.verdict is Verdict.FAIL and item.difference is not None and item.difference.estimate is not None
    ]
    return [text for _, text in sorted(failed, reverse=True)]


def _bar(stage: Stage, label: str, start: str, until: str) -> AbstractContextManager[Advance]:
    """A progress bar over the flights of a span."""
    first, last = np.searchsorted(stage.served["replay"].asked_at, [parse_time(start), parse_time(until)])
    return stage.bar(label, float(last - first))


def _live_until(stage: Stage, reached: Callable[[], bool], advance: Advance) -> None:
    """Lives day after day until something is reached, at the latest until autumn."""
    while not reached() and stage.served["at"] < AUTUMN:
        tomorrow = min(from_us(parse_time(stage.served["at"]) + DAY).date().isoformat(), AUTUMN)
        _live(stage, stage.served["at"], tomorrow, advance)


def _live(stage: Stage, start: str, until: str, advance: Advance, *, asked_until: str = "") -> None:
    """Day after day: ask, report labels; on Tuesdays, when last week's labels have come, take in the tables and tick."""
    server, replay = stage.served["server"], stage.served["replay"]
    for day in days(start, until):
        before = from_us(parse_time(day) - DAY).date().isoformat()
        if day > asked_until:
            replay.ask(server.host, server.port, before, day, advance=advance)
        if from_us(parse_time(day)).weekday() == 1:
            _flush(stage, parse_time(day))
            replay.report_labels(stage.workspace(day).store.bucket, day)
            _ingest(stage, day)
            _tick(stage, day)
        else:
            replay.report_labels(stage.workspace(day).store.bucket, day)
        stage.served["at"] = day


def _tick(stage: Stage, now: str) -> None:
    report = stage.workspace(now, actor=LOOP).tick()
    require(not report.problems, f"tick works: {report.problems[:1]}")
    workspace = stage.workspace(now)
    closed = {(item.start, item.end) for item in report.windows}
    stage.served["windows"] += [window for window in workspace.monitor(MODEL).windows() if (window.start, window.end) in closed]
    stage.served["alerts"] += [msgspec.to_builtins(alert) for alert in report.alerts]


def _flush(stage: Stage, until: int) -> None:
    """Waits for the server's log writer, which works behind the responses, to have written what was served before ``until``."""
    wanted = len(stage.served["replay"].ids)
    deadline = time.monotonic() + 20
    while _logged(stage) < wanted:
        require(time.monotonic() < deadline, f"the prediction log has all {wanted} predictions before {format_time(until)}")
        time.sleep(0.05)


def _logged(stage: Stage) -> int:
    lines = stage.served["server"].get("/metrics").splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("model_prediction_log_rows_total")))


def _open_decisions(stage: Stage) -> list[Any]:
    found = stage.workspace(stage.served["at"]).store.documents.list("decision", subject=MODEL)
    return [document.body for document in found if not DecisionState(document.state).is_final]


def _until_served(server: Server, version: int) -> float:
    """Seconds until the server says that it serves ``version``."""
    started = time.perf_counter()
    while _served_version(server) != version:
        require(time.perf_counter() - started < 10, f"the server follows to version {version}")
        time.sleep(0.01)
    return time.perf_counter() - started


def _served_version(server: Server) -> int:
    [served] = msgspec.json.decode(server.get("/health"))["models"]
    return int(served["version"])


def _roll_back(stage: Stage, now: str) -> tuple[int, float]:
    """Rolls back and gives the version and the seconds until ledger, pointer and server agree."""
    release = stage.workspace(now).release
    started = time.perf_counter()
    entry = release.rollback(MODEL, reason="a rehearsal: can we go back under load?")
    version = release.pointer(MODEL).champion.version
    _until_served(stage.served["server"], version)
    seconds = time.perf_counter() - started
    require(release.history(MODEL)[-1] == entry and version == release.state(MODEL).champion.version, "ledger and pointer agree")
    return version, seconds


def _forward(stage: Stage, version: int, now: str) -> float:
    """Back to the newer version: quarantine lifted, judged anew against who serves now, approved, promoted."""
    ref = f"{MODEL}@{version}"
    workspace = stage.workspace(now)
    lifted = stage.tidegate("release", "lift", ref, "--reason", "the rehearsal is over", now=now, actor=APPROVER)
    require(lifted.code == 0, "the quarantine is lifted")
    snapshot = workspace.release.receipt(MODEL, workspace.release.newest_receipt(MODEL, version)).snapshot
    judged = workspace.judge(ref, snapshot=snapshot)
    require(judged.verdict is Verdict.PASS, "it passes again")
    _approve_and_promote(stage, version, now)
    return _until_served(stage.served["server"], version)


def _window_line(window: Any) -> str:
    finding = next((item for item in window.findings if item.kind == "performance"), None)
    drifted = sum(1 for item in window.findings if item.kind == "input_drift" and item.ratio is not None and item.ratio > 1)
    text = f"week of {format_time(window.start)[:10]}: {window.rows:,} predictions, {window.labelled:,} with labels"
    if finding is not None and finding.statistic is not None and finding.bound is not None:
        text += f", {finding.subject} {finding.statistic:.3f} (bound {finding.bound:.3f}){' ALERT' if (finding.ratio or 0) > 1 else ''}"
    return f"{text}, {drifted} inputs drifted"


def _window_numbers(window: Any) -> Numbers:
    performance = [item for item in window.findings if item.kind == "performance"]
    return {
        "start": format_time(window.start),
        "days": (window.end - window.start) // DAY,
        "rows": window.rows,
        "labelled": window.labelled,
        "performance": {item.subject: [item.statistic, item.bound, item.ratio] for item in performance},
    }


def _pages(stage: Stage) -> dict[str, int]:
    """The status of every page of the web server, started for a moment."""
    server = Server(stage.folder, "server", now=AUTUMN)
    try:
        return {page: server.status(page) for page in PAGES}
    finally:
        server.stop()

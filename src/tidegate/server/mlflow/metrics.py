"""Metrics of MLflow's REST API: ``runs/log-metric``, ``runs/log-batch`` and ``metrics/*``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tidegate.errors import NotFoundError
from tidegate.records.run import Series
from tidegate.server.mlflow.limits import check_counts, check_metric_key, check_run_id, params_of, tags_of
from tidegate.server.mlflow.logged_records import note_metrics
from tidegate.server.mlflow.protocol import (
    Call,
    absent,
    body_of,
    both,
    decoded,
    encode,
    in_thread,
    invalid,
    offset_of,
    paged,
    refused,
    route,
    shown,
    whole,
    wrong,
)
from tidegate.server.mlflow.runs import put_params, told
from tidegate.server.mlflow.views import LATEST_MS, MS, value_of
from tidegate.server.mlflow.writer import MetricWriter
from tidegate.store.ports import Batch
from tidegate.workspace import Workspace

_MAX_BATCH = 16 * 1024 * 1024
"""MLflow names 1 MB and does not hold clients to it; a hundred long tags and parameters are more than that."""
_BULK = 25_000
_BULK_RUNS = 100
_INTERVAL = 2500
_EMPTY = encode({})


class _Metric(msgspec.Struct):
    key: str
    value: float | str
    timestamp: int | str
    step: int | str | None = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class _LogMetric(_Metric):
    run_id: str | None = None
    run_uuid: str | None = None


class _LogBatch(msgspec.Struct):
    run_id: str
    metrics: list[_Metric] | None = None
    params: list[dict[str, Any]] | None = None
    tags: list[dict[str, Any]] | None = None


_ONE = msgspec.json.Decoder(_LogMetric)
_MANY = msgspec.json.Decoder(_LogBatch)


class LinkedMetric(NamedTuple):
    """A value that was logged for a logged model as well: time in microseconds UTC."""

    model_id: str
    key: str
    value: float
    at: int
    step: int
    dataset_name: str
    dataset_digest: str


def routes(workspace: Workspace) -> list[Route]:
    """The routes of metrics."""
    writer = MetricWriter(workspace.store.series.ingest)
    found = [Route(path, Logging(workspace, writer, _one), methods=["POST"]) for path in both("runs/log-metric")]
    found += [Route(path, Logging(workspace, writer, _many), methods=["POST"]) for path in both("runs/log-batch")]
    found += [route("GET", path, _history, workspace) for path in both("metrics/get-history")]
    found += [route("GET", path, _bulk, workspace) for path in both("metrics/get-history-bulk")]
    found += [route("GET", path, _interval, workspace) for path in both("metrics/get-history-bulk-interval")]
    return found


class _Asked(NamedTuple):
    run_id: str
    series: list[Series]
    params: dict[str, str]
    tags: dict[str, str]
    linked: list[LinkedMetric]


class Logging:
    """The ASGI application of one route that logs metrics: read, check, hand to the writer, answer when it is committed."""

    def __init__(self, workspace: Workspace, writer: MetricWriter, read: Any) -> None:
        self._workspace = workspace
        self._writer = writer
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._log(self._read(await body_of(request, _MAX_BATCH)))
            answer = Response(_EMPTY, media_type="application/json")
        except Exception as error:  # noqa: BLE001 - the last seam: every error is answered in MLflow's shape
            answer = refused(request.url.path, error)
        await answer(scope, receive, send)

    async def _log(self, asked: _Asked) -> None:
        if asked.params or asked.tags:
            add = partial(put_params, self._workspace, asked.run_id, asked.params, tags=asked.tags, single=False)
            await in_thread(add)
            if not asked.series:
                return
        # Without points the store still says whether there is such a run.
        refusal = await self._writer.put(Batch(asked.run_id, "", 0, asked.series))
        if refusal is not None:
            raise told(refusal, asked.run_id)
        if asked.linked:
            await in_thread(note_metrics, self._workspace, asked.run_id, asked.linked)


def _one(body: bytes) -> _Asked:
    try:
        item: _Metric = _ONE.decode(body)
        run_id = item.run_id or item.run_uuid or ""
    except (msgspec.MsgspecError, RecursionError):
        fields = decoded(body)
        run_id, item = str(fields.get("run_id") or fields.get("run_uuid") or ""), _metric(fields, "")
    if not run_id:
        raise absent("run_id")
    return _Asked(check_run_id(run_id), _series([item]), {}, {}, _linked([item]))


def _many(body: bytes) -> _Asked:
    try:
        batch = _MANY.decode(body)
        run_id, metrics, params, tags = batch.run_id, batch.metrics or [], batch.params or [], batch.tags or []
    except (msgspec.MsgspecError, RecursionError):
        fields = decoded(body)
        run_id = fields.get("run_id") or ""
        lists = [_objects(fields, name) for name in ("metrics", "params", "tags")]
        metrics = [_metric(item, f"metrics[{index}].") for index, item in enumerate(lists[0])]
        params, tags = lists[1:]
    if not run_id:
        raise absent("run_id")
    if not isinstance(run_id, str):
        raise wrong("run_id", run_id)
    check_run_id(run_id)
    check_counts(len(metrics), len(params), len(tags))
    return _Asked(run_id, _series(metrics), params_of(params), tags_of(tags), _linked(metrics))


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items: Any = fields.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):  # pyright: ignore[reportUnknownVariableType] - JSON
        raise wrong(name, items)
    return items  # pyright: ignore[reportUnknownVariableType] - JSON


def _metric(fields: dict[str, Any], path: str) -> _Metric:
    """A metric that the typed decoder did not take: either it is one all the same (a bare NaN, a step of 3.0), or this says why not."""
    key, value, timestamp = fields.get("key"), fields.get("value"), fields.get("timestamp")
    for name, field in (("key", key), ("value", value), ("timestamp", timestamp)):
        if field is None or field == "":
            raise absent(f"{path}{name}")
    if not isinstance(key, str):
        raise wrong(f"{path}key", key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(f"{path}value", value)
    texts = {name: fields.get(name) for name in ("model_id", "dataset_name", "dataset_digest")}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise wrong(f"{path}{name}", text)
    step = fields.get("step")
    return _Metric(
        key,
        _float(value, f"{path}value"),
        whole(timestamp, f"{path}timestamp"),
        0 if step is None else whole(step, f"{path}step"),
        **texts,
    )


def _float(value: float | str, path: str) -> float:
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise wrong(path, value) from None


def _series(metrics: Sequence[_Metric]) -> list[Series]:
    """The points by metric, as columns, in one pass over them.

    Raises:
        MlflowError: a key, value, time or step cannot be one.
    """
    if not metrics:
        return []
    rows: dict[str, list[int]] = {}
    for index, item in enumerate(metrics):
        rows.setdefault(item.key, []).append(index)
    for key in rows:
        check_metric_key(key)
    try:
        steps = np.array([item.step or 0 for item in metrics], np.int64)
        times = np.array([item.timestamp for item in metrics], np.int64)
        values = np.array([item.value for item in metrics], np.float64)
    except (ValueError, OverflowError):
        paths = [""] if len(metrics) == 1 else [f"metrics[{index}]." for index in range(len(metrics))]
        return _series([_plain(item, path) for item, path in zip(metrics, paths, strict=True)])
    if times.min() < 0 or times.max() > LATEST_MS:
        worst = metrics[int(np.flatnonzero((times < 0) | (times > LATEST_MS))[0])]
        raise invalid(
            f"Invalid value {worst.timestamp} for parameter 'timestamp' supplied: metric '{worst.key}' (value={worst.value})."
            " Timestamp must be a nonnegative long (64-bit integer) of milliseconds"
        )
    times *= MS
    if len(rows) == 1:
        return [Series(metrics[0].key, steps, times, values)]
    if len(rows) == len(metrics):
        return [Series(key, steps[i : i + 1], times[i : i + 1], values[i : i + 1]) for i, key in enumerate(rows)]
    return [Series(key, steps[mine], times[mine], values[mine]) for key, mine in rows.items()]


def _plain(item: _Metric, path: str) -> _Metric:
    """The same metric with numbers for texts; there is one among a batch that is none, or is out of range."""
    step, timestamp = whole(item.step or 0, f"{path}step"), whole(item.timestamp, f"{path}timestamp")
    for name, number in (("step", step), ("timestamp", timestamp)):
        if not -(2**63) <= number < 2**63:
            raise invalid(f"Invalid value {shown(number)} for parameter '{path}{name}' supplied: it is no 64-bit integer.")
    return msgspec.structs.replace(item, value=_float(item.value, f"{path}value"), timestamp=timestamp, step=step)


def _linked(metrics: Sequence[_Metric]) -> list[LinkedMetric]:
    return [
        LinkedMetric(
            item.model_id,
            item.key,
            float(item.value),
            int(item.timestamp) * MS,
            int(item.step or 0),
            item.dataset_name or "",
            item.dataset_digest or "",
        )
        for item in metrics
        if item.model_id
    ]


def _history(call: Call) -> Any:
    run_id, key = call.text("run_id", "run_uuid"), call.text("metric_key")
    size = call.integer("max_results") if "max_results" in call.fields else None
    if size is not None and size <= 0:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer.")
    offset = offset_of(call.text("page_token", default=""))
    series = _points(call.workspace, run_id, key)
    order = np.lexsort((series.values, series.steps, series.times))[offset:]
    page, token = paged(order.tolist(), size, offset) if size is not None else (order.tolist(), "")
    answer = {"metrics": _views(series, page)} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def _bulk(call: Call) -> Any:
    runs = [str(run) for run in call.items("run_id")]
    if not runs:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(runs) > _BULK_RUNS:
        raise invalid(
            f"GetMetricHistoryBulk request cannot specify more than {_BULK_RUNS} run_ids. Received {len(runs)} run_ids."
        )
    if not call.fields.get("metric_key"):
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    left = min(max(call.integer("max_results", default=_BULK), 0), _BULK)
    found: list[dict[str, Any]] = []
    for run_id in sorted(set(runs)):
        series = _points(call.workspace, run_id, call.text("metric_key"))
        order = np.lexsort((series.values, series.steps, series.times))[: left - len(found)]
        found += _views(series, order.tolist(), run_id=run_id)
    return {"metrics": found}


def _interval(call: Call) -> Any:
    """Curves for charts. Where MLflow takes every k-th point, this keeps the least and the greatest of every stretch."""
    runs, key = [str(run) for run in call.items("run_ids")], call.text("metric_key")
    if not runs:
        raise absent("run_ids")
    if len(runs) > _BULK_RUNS:
        raise invalid(
            f"GetMetricHistoryBulkInterval request must specify at most {_BULK_RUNS} run_ids. Received {len(runs)} run_ids."
        )
    size = call.integer("max_results", default=_INTERVAL)
    if not 1 <= size <= _INTERVAL:
        raise invalid(f"max_results must be between 1 and {_INTERVAL}.")
    bounds = [call.integer(name) if name in call.fields else None for name in ("start_step", "end_step")]
    first, last = bounds
    if (first is None) is not (last is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if first is not None and last is not None and first > last:
        raise invalid(f"end_step must be greater than start_step. Found start_step={first} and end_step={last}.")
    found: list[dict[str, Any]] = []
    for run_id in runs:
        series = _points(call.workspace, run_id, key, first=first, last=last)
        found += _views(series, kept(series.values, size), run_id=run_id)
    return {"metrics": found} if found else {}


def kept(values: np.ndarray[Any, np.dtype[np.float64]], size: int) -> list[int]:
    """At most ``size`` indices: the first, the last, and of equal stretches between them the least and the greatest value."""
    count = len(values)
    if count <= size:
        return list(range(count))
    if size < 4:
        return [0, count - 1][-size:]
    edges = np.linspace(1, count - 1, (size - 2) // 2 + 1).astype(np.int64)
    chosen = {0, count - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        stretch = values[start:end]
        numbers = np.flatnonzero(~np.isnan(stretch))
        if len(numbers):
            chosen |= {start + int(numbers[stretch[numbers].argmin()]), start + int(numbers[stretch[numbers].argmax()])}
        elif end > start:
            chosen.add(start)
    return sorted(chosen)


def _points(workspace: Workspace, run_id: str, key: str, *, first: int | None = None, last: int | None = None) -> Series:
    try:
        return workspace.store.series.points(run_id, key, first=first, last=last)
    except NotFoundError:  # MLflow has no word for it: an unknown run has no history
        return Series(key, np.array([], np.int64), np.array([], np.int64), np.array([], np.float64))


def _views(series: Series, rows: list[int], *, run_id: str = "") -> list[dict[str, Any]]:
    more = {"run_id": run_id} if run_id else {}
    steps, times, values = series.steps[rows].tolist(), series.times[rows].tolist(), series.values[rows].tolist()
    return [
        {"key": series.metric, "value": value_of(value), "timestamp": time // MS, "step": step, **more}
        for step, time, value in zip(steps, times, values, strict=True)
    ]

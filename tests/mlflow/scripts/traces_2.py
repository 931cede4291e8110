"""Traces of MLflow 2.22: begun, ended, searched, with the spans as an artifact."""

import contextlib
import time

import mlflow
from mlflow import MlflowClient
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id


@mlflow.trace
def inner(x):
    return x + 1


@mlflow.trace(span_type="CHAIN", attributes={"flag": 1}, name="outermost")
def outer(x):
    mlflow.update_current_trace(tags={"team": "blue"})
    with mlflow.start_span("middle") as span:
        span.set_inputs({"q": x})
        span.set_outputs({"r": [2, None]})
    return inner(x)


@mlflow.trace
def breaks(x):
    raise ValueError("boom")


outer(3)
time.sleep(0.01)
with contextlib.suppress(ValueError):
    breaks(4)
mlflow.flush_trace_async_logging()
for _ in range(200):  # the spans are uploaded in the background, after the trace has ended
    if len(client.search_traces([experiment])) == 2:
        break
    time.sleep(0.2)


def names(filter_string=None, **options):
    return [
        item.info.tags.get("mlflow.traceName")
        for item in client.search_traces([experiment], filter_string=filter_string, **options)
    ]


attempt("all", names)
traces = client.search_traces([experiment])
for trace in traces:
    name = trace.info.tags["mlflow.traceName"]
    see(
        f"{name}: info",
        [
            str(trace.info.status),
            trace.info.execution_time_ms is not None,
            {k: v for k, v in trace.info.request_metadata.items() if k.startswith("mlflow.trace")},
            {k: v for k, v in trace.info.tags.items() if k in ("team", "mlflow.traceName", "mlflow.artifactLocation")},
        ],
    )
    see(
        f"{name}: spans",
        [
            [span.name, span.span_type, span.parent_id is None, str(span.status.status_code), span.inputs, span.outputs]
            for span in trace.data.spans
        ],
    )
first = traces[-1].info.request_id
attempt("get_trace", lambda: len(client.get_trace(first).data.spans))
attempt("get none", lambda: client.get_trace("0" * 32))
for clause in [
    "status = 'OK'",
    "trace.status = 'ERROR'",
    "tags.team = 'blue'",
    "name = 'outermost'",
    "timestamp_ms > 0",
    "foo = 'x'",
    "status > 'x'",
]:
    attempt(f"where {clause}", lambda clause=clause: names(clause))
attempt("order", lambda: names(order_by=["timestamp_ms ASC"]))
page = client.search_traces([experiment], max_results=1)
see("a page", [len(page), bool(page.token)])
attempt("set a tag", lambda: [client.set_trace_tag(first, "x", "y"), client.get_trace(first).info.tags["x"]])
attempt("take it away", lambda: client.delete_trace_tag(first, "x"))
attempt("take it away again", lambda: client.delete_trace_tag(first, "x"))
attempt("delete", lambda: client.delete_traces(experiment_id=experiment, request_ids=[first]))
attempt("it is gone", lambda: client.get_trace(first))
attempt("what is left", names)

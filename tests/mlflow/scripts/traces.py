"""Traces of MLflow 3: spans, errors, tags, assessments, search, deletion."""

import contextlib
import time

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback, SpanEvent
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id


@mlflow.trace
def inner(x):
    return x + 1


@mlflow.trace(span_type="CHAIN", attributes={"flag": 1, "list": [1, "a"]}, name="outermost")
def outer(x):
    mlflow.update_current_trace(
        tags={"team": "blue"},
        metadata={"note": "two"},
        client_request_id=f"client-{x}",
        request_preview=f"asked {x}",
        response_preview="said it",
    )
    with mlflow.start_span("middle", span_type="TOOL") as span:
        span.set_inputs({"q": x})
        span.set_outputs({"r": [2, None, {"deep": True}]})
        span.set_attribute("text", "ümlaut")
        span.add_event(SpanEvent("ev", attributes={"k": 1}))
    return inner(x)


@mlflow.trace
def breaks(x):
    raise ValueError("boom")


outer(3)
time.sleep(0.01)
with contextlib.suppress(ValueError):
    breaks(4)
time.sleep(0.01)
with mlflow.start_run(run_name="with traces") as run:
    outer(5)
with mlflow.start_span("by hand") as root:
    root.set_inputs("just text")
mlflow.flush_trace_async_logging()


def found(filter_string=None, **options):
    return client.search_traces(locations=[experiment], filter_string=filter_string, **options)


def names(filter_string=None, **options):
    return [item.info.tags.get("mlflow.traceName") for item in found(filter_string, **options)]


def spans(trace):
    return [
        [
            span.name,
            span.span_type,
            span.parent_id is None,
            span.status.status_code,
            span.inputs,
            span.outputs,
            {k: v for k, v in span.attributes.items() if k in ("flag", "list", "text")},
            [[event.name, sorted(event.attributes)] for event in span.events],
        ]
        for span in trace.data.spans
    ]


def info(trace):
    kept = {
        k: v
        for k, v in trace.info.trace_metadata.items()
        if k in ("note", "mlflow.traceInputs", "mlflow.traceOutputs", "mlflow.trace_schema.version", "mlflow.source.type")
    }
    return [
        str(trace.info.state),
        trace.info.request_preview,
        trace.info.response_preview,
        trace.info.client_request_id,
        kept,
        {k: v for k, v in trace.info.tags.items() if k != "mlflow.artifactLocation"},
        trace.info.experiment_id == experiment,
        trace.info.execution_duration is not None,
    ]


attempt("all", names)
traces = found()
for trace in traces:
    name = trace.info.tags["mlflow.traceName"] + (" in a run" if trace.info.trace_metadata.get("mlflow.sourceRun") else "")
    see(f"{name}: info", info(trace))
    see(f"{name}: spans", spans(trace))
see("where its files are", traces[-1].info.tags["mlflow.artifactLocation"])
first = traces[-1].info.trace_id
attempt("get_trace", lambda: spans(client.get_trace(first)))
attempt("get none", lambda: client.get_trace("tr-" + "0" * 32))
attempt("mlflow.get_trace of none", lambda: mlflow.get_trace("tr-" + "0" * 32))
for clause in [
    "trace.status = 'OK'",
    "status = 'ERROR'",
    "attributes.status != 'OK'",
    "trace.name = 'outermost'",
    "name LIKE 'b%'",
    "name ILIKE 'OUTER%'",
    "name RLIKE '^(outer|by)'",
    "tags.team = 'blue'",
    "tag.team != 'blue'",
    "tags.team LIKE 'b%'",
    "tags.none IS NULL",
    "tags.team IS NOT NULL",
    "metadata.note = 'two'",
    "request_metadata.note = 'none'",
    "trace.timestamp_ms > 0",
    "timestamp < 1000",
    "execution_time >= 0",
    "trace.execution_time_ms > 1000000",
    "client_request_id = 'client-3'",
    "trace.client_request_id LIKE 'client-%'",
    "status IN ('OK', 'ERROR')",
    "status NOT IN ('OK')",
    "span.name = 'middle'",
    "span.name LIKE 'm%' AND span.type = 'TOOL'",
    "span.status = 'ERROR'",
    "span.attributes.text LIKE '%mlaut%'",
    "trace.text LIKE '%just text%'",
    "tags.team = 'blue' AND status = 'OK'",
    f"run_id = '{run.info.run_id}'",
    f"trace.run_id = '{run.info.run_id}' AND tags.team = 'blue'",
]:
    attempt(f"where {clause.replace(run.info.run_id, 'RUN')}", lambda clause=clause: names(clause))
for clause in [
    "foo",
    "foo = 'x'",
    "status = OK",
    "status > 'OK'",
    "timestamp_ms = 'x'",
    "tags.team = 1",
    "status = 'OK' OR status = 'ERROR'",
    "span.foo = 'x'",
    "(status = 'OK')",
    "tags.team IN ('blue')",
    "foo.bar = 'x'",
    "status = 'OK' status = 'OK'",
]:
    attempt(f"badly {clause}", lambda clause=clause: names(clause))
for order in [
    ["timestamp_ms ASC"],
    ["timestamp DESC"],
    ["name"],
    ["status DESC", "timestamp_ms ASC"],
    ["trace.name DESC"],
    ["tags.team", "timestamp_ms"],
    ["execution_time foo"],
    ["nothing"],
    ["client_request_id"],
]:
    attempt(f"order {order}", lambda order=order: names(order_by=order))
page = found(max_results=2)
see("page one", [len(page), bool(page.token)])
page = found(max_results=2, page_token=page.token)
see("page two", [len(page), bool(page.token)])
attempt("a wrong token", lambda: names(page_token="nonsense!"))
attempt("no results", lambda: names(max_results=0))
attempt("in none", lambda: len(client.search_traces(locations=["987654321"])))
attempt("as a frame", lambda: sorted(mlflow.search_traces(locations=[experiment]).columns))
attempt("of a run", lambda: len(mlflow.search_traces(run_id=run.info.run_id, return_type="list")))
attempt("set a tag", lambda: [client.set_trace_tag(first, "x", "y"), client.get_trace(first).info.tags["x"]])
attempt("take it away", lambda: [client.delete_trace_tag(first, "x"), client.get_trace(first).info.tags.get("x")])
attempt("take it away again", lambda: client.delete_trace_tag(first, "x"))
attempt("a tag of the server", lambda: client.set_trace_tag(first, "mlflow.artifactLocation", "s3://x"))
attempt("a tag of none", lambda: client.set_trace_tag("tr-" + "0" * 32, "x", "y"))
attempt("a long tag", lambda: [client.set_trace_tag(first, "long", "v" * 9000), len(client.get_trace(first).info.tags["long"])])

good = attempt(
    "feedback",
    lambda: mlflow.log_feedback(
        trace_id=first, name="good", value=True, rationale="because", metadata={"a": "b"}, source=AssessmentSource("HUMAN", "ada")
    ),
)
score = attempt("a score", lambda: mlflow.log_feedback(trace_id=first, name="score", value=0.25))
attempt("a dict", lambda: mlflow.log_feedback(trace_id=first, name="both", value={"x": [1, 2]}).value)
attempt("an error", lambda: mlflow.log_feedback(trace_id=first, name="failed", error=ValueError("no")).error.error_message)
wanted = attempt("expectation", lambda: mlflow.log_expectation(trace_id=first, name="wanted", value={"answer": 42}))
attempt("get it", lambda: mlflow.get_assessment(first, good.assessment_id))
attempt(
    "update it",
    lambda: mlflow.update_assessment(first, good.assessment_id, Feedback(name="good", value=False, metadata={"c": "d"})),
)
attempt(
    "override it",
    lambda: (
        mlflow.override_feedback(trace_id=first, assessment_id=good.assessment_id, value="maybe").overrides == good.assessment_id
    ),
)
attempt("the old one", lambda: mlflow.get_assessment(first, good.assessment_id).valid)
attempt("delete", lambda: mlflow.delete_assessment(trace_id=first, assessment_id=wanted.assessment_id))
attempt("get it again", lambda: mlflow.get_assessment(first, wanted.assessment_id))
attempt("delete it again", lambda: mlflow.delete_assessment(trace_id=first, assessment_id=wanted.assessment_id))
attempt("feedback of none", lambda: mlflow.log_feedback(trace_id="tr-" + "0" * 32, name="good", value=True))
see(
    "all of them",
    sorted(
        [item.name, str(item.value), item.valid, item.source.source_type] for item in client.get_trace(first).info.assessments
    ),
)
for clause in [
    "feedback.score = '0.25'",
    "feedback.score > 0.2",
    "feedback.score < 0.2",
    "feedback.good = 'maybe'",
    "feedback.good = 'true'",
    "expectation.wanted IS NULL",
    "feedback.score IS NOT NULL",
    "feedback.score > 'x'",
]:
    attempt(f"where {clause}", lambda clause=clause: names(clause))
attempt(
    "link to a run", lambda: [client.link_traces_to_run([first], run.info.run_id), len(names(f"run_id = '{run.info.run_id}'"))]
)
attempt("delete one", lambda: client.delete_traces(experiment_id=experiment, trace_ids=[first]))
attempt("it is gone", lambda: client.get_trace(first))
attempt("delete it twice", lambda: client.delete_traces(experiment_id=experiment, trace_ids=[first]))
attempt("delete nothing", lambda: client.delete_traces(experiment_id=experiment))
attempt("delete too much", lambda: client.delete_traces(experiment_id=experiment, trace_ids=["x"], max_timestamp_millis=1))
attempt("delete old ones", lambda: client.delete_traces(experiment_id=experiment, max_timestamp_millis=1))
attempt(
    "delete two of them",
    lambda: client.delete_traces(experiment_id=experiment, max_timestamp_millis=int(time.time() * 1000) + 1000, max_traces=2),
)
attempt("what is left", names)

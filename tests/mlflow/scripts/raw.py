"""What is on the wire: requests that no client makes, with status, error code and the shape of the answer."""

import json
import os
import urllib.error
import urllib.request

from observing import NAME, SERVER, see

HEADERS = {"Content-Type": "application/json"}


def ask(method, path, body=None, headers=None):
    data = (
        body.encode() if isinstance(body, str) else body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    )
    request = urllib.request.Request(f"{SERVER}{path}", data=data, method=method, headers={**HEADERS, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


def look(step, method, path, body=None, headers=None):
    status, kind, content = ask(method, path, body, headers)
    try:
        answer = json.loads(content)
    except ValueError:
        see(step, [status, kind])
        return {}
    if isinstance(answer, dict) and "error_code" in answer:
        see(step, [status, answer["error_code"], isinstance(answer.get("message"), str)])
    else:
        see(step, [status, shape(answer)])
    return answer


V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
experiment = look("create an experiment", "POST", f"{V2}/experiments/create", {"name": NAME})["experiment_id"]
look("get it", "GET", f"{V2}/experiments/get?experiment_id={experiment}")
look("get by name", "GET", f"{V2}/experiments/get-by-name?experiment_name={NAME}")
look("the other prefix", "GET", f"/ajax-api/2.0/mlflow/experiments/get?experiment_id={experiment}")
run = look(
    "create a run",
    "POST",
    f"{V2}/runs/create",
    {"experiment_id": experiment, "start_time": 5, "run_name": "raw", "tags": [{"key": "a", "value": "b"}]},
)["run"]["info"]["run_id"]
for step, path, body in [
    ("a metric", "log-metric", {"key": "m", "value": 1.5, "timestamp": 1, "step": 2}),
    ("a metric as NaN", "log-metric", {"key": "nan", "value": "NaN", "timestamp": 1}),
    ("a metric as bare NaN", "log-metric", f'{{"run_id": "{run}", "key": "nan2", "value": NaN, "timestamp": 1}}'),
    ("a metric as Infinity", "log-metric", {"key": "inf", "value": "Infinity", "timestamp": 1}),
    ("a metric as text", "log-metric", {"key": "m", "value": "1.5", "timestamp": 1}),
    ("a metric as a word", "log-metric", {"key": "m", "value": "abc", "timestamp": 1}),
    ("a metric without value", "log-metric", {"key": "m", "timestamp": 1}),
    ("a metric without time", "log-metric", {"key": "m", "value": 1}),
    ("a metric without key", "log-metric", {"value": 1, "timestamp": 1}),
    ("a metric with null as key", "log-metric", {"key": None, "value": 1, "timestamp": 1}),
    ("a metric with a number as key", "log-metric", {"key": 5, "value": 1, "timestamp": 1}),
    ("a metric at a fraction", "log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": 1.5}),
    ("a metric at a text", "log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": "7"}),
    ("a metric at a word", "log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": "x"}),
    ("a metric at a time as text", "log-metric", {"key": "m", "value": 1, "timestamp": "17"}),
    ("a metric of a negative time", "log-metric", {"key": "m", "value": 1, "timestamp": -1}),
    ("unknown fields", "log-metric", {"key": "m", "value": 1, "timestamp": 1, "foo": {"bar": [1]}}),
    ("a parameter", "log-parameter", {"key": "p", "value": "1"}),
    ("a parameter as number", "log-parameter", {"key": "q", "value": 1}),
    ("a parameter as null", "log-parameter", {"key": "r", "value": None}),
    ("a parameter without value", "log-parameter", {"key": "s"}),
    ("a parameter that changes", "log-parameter", {"key": "p", "value": "2"}),
    ("a tag", "set-tag", {"key": "t", "value": "1"}),
    ("a tag without value", "set-tag", {"key": "t2"}),
    ("a tag as a list", "set-tag", {"key": "t", "value": [1]}),
    ("an empty batch", "log-batch", {}),
    (
        "a batch",
        "log-batch",
        {
            "metrics": [{"key": "b", "value": 1, "timestamp": 1, "step": 0}],
            "params": [{"key": "bp", "value": "x"}],
            "tags": [{"key": "bt", "value": "x"}],
        },
    ),
    ("a batch with a bad metric", "log-batch", {"metrics": [{"key": "b", "timestamp": 1}]}),
    ("a batch with a word for a list", "log-batch", {"metrics": "abc"}),
    ("a batch with texts for metrics", "log-batch", {"metrics": ["abc"]}),
    ("a batch with NaN", "log-batch", {"metrics": [{"key": "bn", "value": "NaN", "timestamp": 1, "step": 0}]}),
    ("update", "update", {"status": "FINISHED", "end_time": 9}),
    ("update to a number", "update", {"status": 4}),
    ("update to a word", "update", {"status": "FOO"}),
]:
    look(step, "POST", f"{V2}/runs/{path}", body if isinstance(body, str) else {"run_id": run, **body})
look("a run by its old name", "POST", f"{V2}/runs/set-tag", {"run_uuid": run, "key": "old", "value": "x"})
look("without a run", "POST", f"{V2}/runs/log-metric", {"key": "m", "value": 1, "timestamp": 1})
look("get the run", "GET", f"{V2}/runs/get?run_id={run}")
look("get it by its old name", "GET", f"{V2}/runs/get?run_uuid={run}")
look("get no run", "GET", f"{V2}/runs/get")
look("get a strange run", "GET", f"{V2}/runs/get?run_id=a/b")
look("a history", "GET", f"{V2}/metrics/get-history?run_id={run}&metric_key=m")
look("an unknown history", "GET", f"{V2}/metrics/get-history?run_id={run}&metric_key=none")
look("a history without a key", "GET", f"{V2}/metrics/get-history?run_id={run}")
look("a history of pages", "GET", f"{V2}/metrics/get-history?run_id={run}&metric_key=m&max_results=1")
look("a bulk history", "GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run}&metric_key=m&max_results=10")
look("bad JSON", "POST", f"{V2}/runs/create", '{"experiment_id": ')
look("no JSON", "POST", f"{V2}/runs/create", "")
look("a list", "POST", f"{V2}/runs/create", "[1]")
look("a number", "POST", f"{V2}/runs/create", "7")
look("JSON in JSON", "POST", f"{V2}/runs/search", json.dumps(json.dumps({"experiment_ids": [experiment]})))
look(
    "another content type",
    "POST",
    f"{V2}/runs/search",
    json.dumps({"experiment_ids": [experiment]}),
    {"Content-Type": "text/plain"},
)
look("no content type", "POST", f"{V2}/runs/search", json.dumps({"experiment_ids": [experiment]}), {"Content-Type": ""})
look(
    "a charset",
    "POST",
    f"{V2}/runs/search",
    json.dumps({"experiment_ids": [experiment]}),
    {"Content-Type": "application/json; charset=utf-8"},
)
look("search", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "filter": "", "max_results": 5})
look("search nothing", "POST", f"{V2}/runs/search", {})
look("search too many", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "max_results": 50001})
look("search none", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "max_results": 0})
look("search a negative number", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "max_results": -1})
look("search a word", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "max_results": "abc"})
look("a wrong token", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "page_token": "abc"})
look("a view", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "run_view_type": "ALL"})
look("a wrong view", "POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "run_view_type": "FOO"})
# By name: the default experiment comes first, whatever other scripts do to theirs meanwhile.
look("experiments by POST", "POST", f"{V2}/experiments/search", {"max_results": 1, "order_by": ["name"]})
look("experiments by GET", "GET", f"{V2}/experiments/search?max_results=1&order_by=name")
look("experiments without a limit", "POST", f"{V2}/experiments/search", {})
look("experiments with a wrong limit", "GET", f"{V2}/experiments/search?max_results=abc")
look("an unknown route", "GET", f"{V2}/nothing")
look("an unknown route of version 3", "GET", f"{V3}/nothing/at/all")
look("a wrong method", "DELETE", f"{V2}/runs/search")
look("GET where POST is", "GET", f"{V2}/runs/create")
look("files", "GET", f"{V2}/artifacts/list?run_id={run}")
look("files above", "GET", f"{V2}/artifacts/list?run_id={run}&path=../..")
look("files of none", "GET", f"{V2}/artifacts/list?run_id={'0' * 32}")
FILES = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts"
look("put a file", "PUT", f"{FILES}/a.txt", b"hello")
look("get a file", "GET", f"{FILES}/a.txt")
look("get no file", "GET", f"{FILES}/none.txt")
look("list", "GET", f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts")
look("delete a file", "DELETE", f"{FILES}/a.txt")
for number, climbing in enumerate(
    [
        "..%2f..%2fx",
        "%2e%2e/%2e%2e/x",
        "a/..%2f..%2f..%2fx",
        "..%5c..%5cx",
        "%2fetc%2fpasswd",
        "a%00b",
        "c:%5cx",
        "%252e%252e%252fx",
    ]
):
    look(f"climb {number} by GET", "GET", f"{FILES}/{climbing}")
    look(f"climb {number} by PUT", "PUT", f"{FILES}/{climbing}", b"x")
look("list above", "GET", "/api/2.0/mlflow-artifacts/artifacts?path=../..")
look("list elsewhere", "GET", "/api/2.0/mlflow-artifacts/artifacts?path=/etc")
look("health", "GET", "/health")
look("version", "GET", "/version")
MODEL = f"{NAME}-model"
look(
    "create a model",
    "POST",
    f"{V2}/registered-models/create",
    {"name": MODEL, "tags": [{"key": "a", "value": "b"}], "description": "d"},
)
look("get a model", "GET", f"{V2}/registered-models/get?name={MODEL}")
look("get a model without a name", "GET", f"{V2}/registered-models/get")
look("put a model", "PUT", f"{FILES}/model/MLmodel", b"flavors: {}\n")
look(
    "create a version",
    "POST",
    f"{V2}/model-versions/create",
    {"name": MODEL, "source": f"mlflow-artifacts:/{experiment}/{run}/artifacts/model", "run_id": run},
)
look("create a version without a source", "POST", f"{V2}/model-versions/create", {"name": MODEL})
look("get a version", "GET", f"{V2}/model-versions/get?name={MODEL}&version=1")
look("get a version of a word", "GET", f"{V2}/model-versions/get?name={MODEL}&version=abc")
look("set an alias", "POST", f"{V2}/registered-models/alias", {"name": MODEL, "alias": "a1", "version": "1"})
look("get an alias", "GET", f"{V2}/registered-models/alias?name={MODEL}&alias=a1")
look("get no alias", "GET", f"{V2}/registered-models/alias?name={MODEL}&alias=none")
look("delete an alias", "DELETE", f"{V2}/registered-models/alias", {"name": MODEL, "alias": "a1"})
look("search models by GET", "GET", f"{V2}/registered-models/search?filter=name%3D%27{MODEL}%27&max_results=1")
look("search models by POST", "POST", f"{V2}/registered-models/search", {"max_results": 1})
look("too many models", "GET", f"{V2}/registered-models/search?max_results=1001")
look("latest by POST", "POST", f"{V2}/registered-models/get-latest-versions", {"name": MODEL})
look("latest by GET", "GET", f"{V2}/registered-models/get-latest-versions?name={MODEL}")
look("change a model", "PATCH", f"{V2}/registered-models/update", {"name": MODEL, "description": "e"})
look("rename a model", "POST", f"{V2}/registered-models/rename", {"name": MODEL, "new_name": f"{MODEL}-2"})
look("delete a model", "DELETE", f"{V2}/registered-models/delete", {"name": f"{MODEL}-2"})
look("an experiment of a word", "GET", f"{V2}/experiments/get?experiment_id=abc")
look(
    "an experiment of a number", "POST", f"{V2}/experiments/update", {"experiment_id": int(experiment), "new_name": f"{NAME} new"}
)
look("delete it", "POST", f"{V2}/experiments/delete", {"experiment_id": experiment})
if os.environ.get("PEER") == "3":
    place = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}]
    trace = {
        "trace_id": "tr-" + "5" * 32,
        "trace_location": place[0],
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "tags": {"a": "b"},
    }
    look("server-info", "GET", f"{V3}/server-info")
    look("a trace", "POST", f"{V3}/traces", {"trace": {"trace_info": trace}})
    look("the same trace", "POST", f"{V3}/traces", {"trace": {"trace_info": trace}})
    look("no trace", "POST", f"{V3}/traces", {})
    look(
        "a trace nowhere",
        "POST",
        f"{V3}/traces",
        {
            "trace": {
                "trace_info": {
                    **trace,
                    "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "987654321"}},
                }
            }
        },
    )
    look("a trace that climbs", "POST", f"{V3}/traces", {"trace": {"trace_info": {**trace, "trace_id": "../x"}}})
    look("get a trace", "GET", f"{V3}/traces/tr-{'5' * 32}")
    look("get no trace", "GET", f"{V3}/traces/tr-none")
    look("get a trace with spans", "GET", f"{V3}/traces/get?trace_id=tr-none")
    look("get several", "GET", f"{V3}/traces/batchGet?trace_ids=tr-none")
    look("get several without ids", "GET", f"{V3}/traces/batchGet")
    look("infos", "POST", f"{V3}/traces/batchGetInfos", {"trace_ids": ["tr-" + "5" * 32]})
    look("search traces", "POST", f"{V3}/traces/search", {"locations": place})
    look("search traces nowhere", "POST", f"{V3}/traces/search", {"locations": []})
    look("search traces without a place", "POST", f"{V3}/traces/search", {})
    look("search too many traces", "POST", f"{V3}/traces/search", {"locations": place, "max_results": 501})
    look("an old trace", "GET", f"{V2}/traces/tr-{'5' * 32}/info")
    look("old search", "GET", f"{V2}/traces?experiment_ids=0&max_results=1")
    look(
        "begin an old trace",
        "POST",
        f"{V2}/traces",
        {"experiment_id": "0", "timestamp_ms": 5, "request_metadata": [{"key": "a", "value": "b"}], "tags": []},
    )
    look("end no old trace", "PATCH", f"{V2}/traces/none", {"timestamp_ms": 5, "status": "OK"})
    look(
        "assess",
        "POST",
        f"{V3}/traces/tr-{'5' * 32}/assessments",
        {
            "assessment": {
                "assessment_name": "x",
                "source": {"source_type": "HUMAN", "source_id": "a"},
                "feedback": {"value": True},
            }
        },
    )
    look("assess nothing", "POST", f"{V3}/traces/tr-{'5' * 32}/assessments", {})
    look("an assessment that is not there", "GET", f"{V3}/traces/tr-{'5' * 32}/assessments/none")
    look("delete it from the trace", "DELETE", f"{V3}/traces/tr-{'5' * 32}/assessments/none")
    look("spans without an experiment", "POST", "/v1/traces", b"x", {"Content-Type": "application/x-protobuf"})
    look(
        "spans that are none",
        "POST",
        "/v1/traces",
        b"xx",
        {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"},
    )
    look("spans of another kind", "POST", "/v1/traces", b"xx", {"Content-Type": "text/plain", "x-mlflow-experiment-id": "0"})
    span = {
        "traceId": "ab" * 16,
        "spanId": "cd" * 8,
        "name": "root",
        "startTimeUnixNano": "1000000000",
        "endTimeUnixNano": "2000000000",
        "attributes": [{"key": "k", "value": {"intValue": "7"}}],
    }
    look(
        "spans as JSON",
        "POST",
        "/v1/traces",
        {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]},
        {"x-mlflow-experiment-id": "0"},
    )
    look("their trace", "GET", f"{V3}/traces/get?trace_id=tr-{'ab' * 16}")
    look(
        "spans of no experiment",
        "POST",
        "/v1/traces",
        {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "traceId": "ef" * 16}]}]}]},
        {"x-mlflow-experiment-id": "987654321"},
    )
    look(
        "delete traces",
        "POST",
        f"{V2}/traces/delete-traces",
        {"experiment_id": "0", "request_ids": [f"tr-{'5' * 32}", f"tr-{'ab' * 16}"]},
    )
    look("delete all traces", "POST", f"{V3}/traces/delete-traces", {"experiment_id": "0"})
    look("a webhook without events", "POST", f"{V2}/webhooks", {"name": "x", "url": "https://8.8.8.8/x"})
    look("webhooks", "GET", f"{V2}/webhooks?max_results=1001")
    look("no webhook", "GET", f"{V2}/webhooks/none")
    look("a logged model that is not there", "GET", f"{V2}/logged-models/m-none")
    look("search logged models", "POST", f"{V2}/logged-models/search", {"experiment_ids": ["987654321"]})
    look("a dataset that is not there", "GET", f"{V3}/datasets/d-none")
    look("a dataset without a name", "POST", f"{V3}/datasets/create", {})
    look("search for datasets", "POST", f"{V3}/datasets/search", {"max_results": 1, "filter_string": "name = 'none of them'"})

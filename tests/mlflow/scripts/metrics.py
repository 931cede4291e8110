"""Metrics: history, odd values, repeated and late points."""

import math

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
run_id = client.create_run(experiment, run_name="series").info.run_id


def history(key):
    return [[item.value, item.timestamp, item.step] for item in client.get_metric_history(run_id, key)]


def last(key):
    return client.get_run(run_id).data.metrics.get(key)


for step, value in enumerate([3.0, 2.0, 1.0]):
    client.log_metric(run_id, "falls", value, timestamp=1000 + step, step=step)
see("history", history("falls"))
see("last", last("falls"))
client.log_metric(run_id, "falls", 9.0, timestamp=5000, step=1)
see("a late point changes no last value", last("falls"))
see("its history", history("falls"))
client.log_metric(run_id, "falls", 9.0, timestamp=5000, step=1)
see("the same point again is one", len(history("falls")))
client.log_metric(run_id, "falls", 8.0, timestamp=5000, step=1)
see("another value is another point", len(history("falls")))
client.log_metric(run_id, "ties", 1.0, timestamp=1000, step=5)
client.log_metric(run_id, "ties", 7.0, timestamp=1000, step=5)
client.log_metric(run_id, "ties", 3.0, timestamp=1000, step=5)
see("of equal step and time the largest is last", last("ties"))
client.log_metric(run_id, "times", 1.0, timestamp=9000, step=5)
client.log_metric(run_id, "times", 2.0, timestamp=8000, step=5)
see("of equal steps the latest is last", last("times"))
client.log_metric(run_id, "negative", -1.5, timestamp=1, step=-7)
client.log_metric(run_id, "negative", -2.5, timestamp=1, step=-8)
see("negative steps", [last("negative"), history("negative")])
for name, value in {"nan": math.nan, "inf": math.inf, "ninf": -math.inf, "tiny": 5e-324, "huge": 1.7e308, "zero": -0.0}.items():
    attempt(f"log {name}", lambda name=name, value=value: client.log_metric(run_id, name, value, timestamp=1, step=1))
    attempt(f"{name}", lambda name=name: [last(name), history(name)])
client.log_metric(run_id, "holes", 1.0, timestamp=1, step=1)
client.log_metric(run_id, "holes", math.nan, timestamp=2, step=2)
see("a NaN at the end", [last("holes"), history("holes")])
client.log_metric(run_id, "holes", 4.0, timestamp=3, step=3)
see("and a number after it", last("holes"))
attempt("no history", lambda: history("unknown"))
attempt("a history of no run", lambda: client.get_metric_history("0" * 32, "falls"))
attempt("a text", lambda: client.log_metric(run_id, "text", "abc"))
attempt("a number as text", lambda: client.log_metric(run_id, "text", "1.5", timestamp=1, step=1))
attempt("a boolean", lambda: client.log_metric(run_id, "flag", True, timestamp=1, step=1))
attempt("none", lambda: client.log_metric(run_id, "none", None))
attempt("no key", lambda: client.log_metric(run_id, "", 1.0))
attempt("a long key", lambda: client.log_metric(run_id, "k" * 251, 1.0))
attempt("a key of 250", lambda: client.log_metric(run_id, "k" * 250, 1.0, timestamp=1, step=1))
attempt("a key with slashes and spaces", lambda: client.log_metric(run_id, "val/loss of it", 1.0, timestamp=1, step=1))
attempt("a key with a sign", lambda: client.log_metric(run_id, "a$b", 1.0))
attempt("a key with a percent", lambda: client.log_metric(run_id, "a%b", 1.0))
attempt("a step that is none", lambda: client.log_metric(run_id, "m", 1.0, timestamp=1, step="x"))
attempt("a large step", lambda: client.log_metric(run_id, "far", 1.0, timestamp=1, step=2**40))
attempt("a step out of range", lambda: client.log_metric(run_id, "far", 1.0, timestamp=1, step=2**63))
see("far", history("far"))
points = [Metric("long", float(number % 7), 1000 + number, number) for number in range(2500)]
for start in range(0, 2500, 1000):
    client.log_batch(run_id, metrics=points[start : start + 1000])
see("a long history", [len(history("long")), history("long")[0], history("long")[-1], last("long")])
see(
    "mixed order",
    [
        client.log_batch(run_id, metrics=[Metric("mixed", 1.0, 3, 3), Metric("mixed", 2.0, 1, 1), Metric("mixed", 3.0, 2, 2)]),
        history("mixed"),
        last("mixed"),
    ],
)
see("all", {key: value for key, value in sorted(client.get_run(run_id).data.metrics.items()) if not key.startswith("kk")})

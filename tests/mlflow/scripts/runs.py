"""Runs: parameters, tags, states, nesting, resuming, deleting, and the limits of a batch."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
with mlflow.start_run(run_name="one", tags={"a": "b"}, description="what it is") as run:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "name": "x", "none": None, "empty": "", "slash/key": 1, "with space": True})
    mlflow.set_tag("t", 1)
    mlflow.set_tags({"u": "v", "dotted.key": "w"})
    mlflow.log_metric("loss", 0.5)
    mlflow.log_metrics({"loss": 0.4, "acc": 1}, step=3)
one = run.info.run_id
see("run", client.get_run(one))
see("its status", client.get_run(one).info.status)

made = client.create_run(experiment, start_time=1000, tags={"mlflow.user": "ada"}, run_name="made")
see("created", made)
attempt("in an experiment that is not there", lambda: client.create_run("987654321"))
attempt("with two names", lambda: client.create_run(experiment, run_name="x", tags={"mlflow.runName": "y"}))
attempt("a name by tag", lambda: client.create_run(experiment, tags={"mlflow.runName": "tagged"}).info.run_name)
attempt("get none", lambda: client.get_run("0" * 32))
attempt("get a wrong id", lambda: client.get_run("not an id"))
run_id = made.info.run_id
attempt("the same parameter", lambda: [client.log_param(run_id, "p", 1), client.log_param(run_id, "p", "1")])
attempt("another value", lambda: client.log_param(run_id, "p", 2))
attempt("a key with an accent", lambda: client.log_param(run_id, "é", 2))
attempt("a key with a sign", lambda: client.log_param(run_id, "a$b", 2))
attempt("a key with a colon", lambda: client.log_param(run_id, "a:b", 2))
attempt("a key that climbs", lambda: client.log_param(run_id, "../x", 2))
attempt("a key of dots", lambda: client.log_param(run_id, "..", 2))
attempt("an absolute key", lambda: client.log_param(run_id, "/x", 2))
attempt("a long key", lambda: client.log_param(run_id, "k" * 251, 2))
attempt("no key", lambda: client.log_param(run_id, "", 2))
attempt("a long value", lambda: client.log_param(run_id, "long", "v" * 6001))
attempt("a value of 6000", lambda: client.log_param(run_id, "fits", "v" * 6000))
attempt("a long tag", lambda: client.set_tag(run_id, "long", "v" * 8001))
see("what is kept of it", len(client.get_run(run_id).data.tags.get("long", "")))
see("of the parameter too", len(client.get_run(run_id).data.params.get("long", "")))
attempt("a tag of a wrong key", lambda: client.set_tag(run_id, "a$b", "v"))
attempt("a tag of none", lambda: client.set_tag("0" * 32, "a", "v"))
attempt("delete a tag", lambda: client.delete_tag(run_id, "long"))
attempt("delete it again", lambda: client.delete_tag(run_id, "long"))
attempt("rename by tag", lambda: client.set_tag(run_id, "mlflow.runName", "by tag"))
see("renamed by tag", client.get_run(run_id).info.run_name)
attempt("update", lambda: client.update_run(run_id, status="FAILED", name="updated"))
see(
    "updated",
    [
        client.get_run(run_id).info.run_name,
        client.get_run(run_id).info.status,
        client.get_run(run_id).data.tags.get("mlflow.runName"),
    ],
)
attempt("terminate", lambda: client.set_terminated(run_id, status="KILLED", end_time=5000))
see("killed", [client.get_run(run_id).info.status, client.get_run(run_id).info.end_time])
attempt("terminate otherwise", lambda: client.set_terminated(run_id, status="FINISHED"))
see("finished", client.get_run(run_id).info.status)
attempt("a wrong state", lambda: client.update_run(run_id, status="NONSENSE"))
attempt("log after its end", lambda: client.log_metric(run_id, "late", 1, timestamp=1, step=0))
attempt("run it again", lambda: client.update_run(run_id, status="RUNNING"))
see("running", [client.get_run(run_id).info.status, client.get_run(run_id).info.end_time])

batch = client.create_run(experiment, run_name="batch").info.run_id


def log(metrics=0, params=0, tags=0):
    return client.log_batch(
        batch,
        metrics=[Metric(f"m{number}", number, 1000, 0) for number in range(metrics)],
        params=[Param(f"p{number}", str(number)) for number in range(params)],
        tags=[RunTag(f"t{number}", str(number)) for number in range(tags)],
    )


attempt("an empty batch", log)
attempt("a full batch", lambda: log(800, 100, 100))
see(
    "counts",
    [
        len(found)
        for found in (client.get_run(batch).data.metrics, client.get_run(batch).data.params, client.get_run(batch).data.tags)
    ],
)
attempt("the same batch again", lambda: log(800, 100, 100))
attempt("a thousand metrics", lambda: log(1000))
attempt("more metrics", lambda: log(1001))
attempt("more params", lambda: log(0, 101))
attempt("more tags", lambda: log(0, 0, 101))
attempt("more together", lambda: log(900, 60, 60))
attempt("a param twice", lambda: client.log_batch(batch, params=[Param("twice", "1"), Param("twice", "1")]))
attempt("a param that changes", lambda: client.log_batch(batch, metrics=[Metric("half", 1, 1, 1)], params=[Param("p1", "other")]))
see("nothing of it is there", "half" in client.get_run(batch).data.metrics)
attempt("a wrong key in it", lambda: client.log_batch(batch, metrics=[Metric("ok", 1, 1, 1), Metric("a$b", 1, 1, 1)]))
see("nothing of that either", "ok" in client.get_run(batch).data.metrics)
attempt("a tag twice", lambda: client.log_batch(batch, tags=[RunTag("again", "1"), RunTag("again", "2")]))
see("the last one counts", client.get_run(batch).data.tags.get("again"))
attempt("a batch of none", lambda: client.log_batch("0" * 32, tags=[RunTag("a", "b")]))

with (
    mlflow.start_run(run_name="parent") as parent,
    mlflow.start_run(run_name="child", nested=True) as child,
    mlflow.start_run(run_name="grandchild", nested=True),
):
    pass
see("the child's parent", child.data.tags["mlflow.parentRunId"] == parent.info.run_id)
see(
    "children",
    [item.info.run_name for item in client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")],
)
attempt("get_parent_run", lambda: client.get_parent_run(child.info.run_id).info.run_name)
with mlflow.start_run(run_id=one):
    mlflow.log_metric("loss", 0.1, step=9)
see("resumed", [client.get_run(one).data.metrics["loss"], client.get_run(one).info.status])
try:
    with mlflow.start_run(run_name="breaks") as broken:
        int("nonsense")
except ValueError:
    pass
see("broken", client.get_run(broken.info.run_id).info.status)

attempt("delete", lambda: client.delete_run(one))
see("deleted", client.get_run(one).info.lifecycle_stage)
attempt("delete again", lambda: client.delete_run(one))
attempt("log a metric to it", lambda: client.log_metric(one, "m", 1))
attempt("log a param to it", lambda: client.log_param(one, "m", 1))
attempt("tag it", lambda: client.set_tag(one, "m", 1))
attempt("a batch for it", lambda: client.log_batch(one, tags=[RunTag("a", "b")]))
attempt("rename it", lambda: client.update_run(one, name="x"))
attempt("restore", lambda: client.restore_run(one))
see("restored", client.get_run(one).info.lifecycle_stage)
attempt("restore again", lambda: client.restore_run(one))
attempt("delete none", lambda: client.delete_run("0" * 32))
see("log_dict and friends", [mlflow.last_active_run().info.run_name])

"""Searching runs: filters that work and filters that do not, order, pages."""

import math

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from observing import NAME, attempt, see

client = MlflowClient()
experiment = client.create_experiment(NAME)
other = client.create_experiment(f"{NAME} other")
ids = {}
for number in range(10):
    run = client.create_run(
        experiment, start_time=1000 + number, run_name=f"run {number}", tags={"odd": str(number % 2), "mlflow.note.content": "x"}
    )
    ids[f"run {number}"] = run.info.run_id
    metrics = [Metric("loss", 1.0 / (number + 1), 1000, 0), Metric("acc", number * 1.0, 1000, 1)]
    if number == 3:
        metrics.append(Metric("rare", math.nan, 1, 1))
    if number in (4, 5):
        metrics.append(Metric("rare", number * 1.0, 1, 1))
    client.log_batch(
        run.info.run_id,
        metrics=metrics,
        params=[Param("depth", str(number)), Param("kind", "Tree" if number % 3 else "line"), Param("with space", "y")],
        tags=[RunTag("Team", f"Team {number}")],
    )
    if number % 4:
        client.set_terminated(run.info.run_id, status="FINISHED" if number % 2 else "FAILED", end_time=2000 + number)
client.create_run(other, start_time=1, run_name="elsewhere")
client.delete_run(ids["run 9"])


def names(filter_string="", order_by=None, **options):
    return [run.info.run_name for run in client.search_runs([experiment], filter_string, order_by=order_by, **options)]


attempt("all", names)
for clause in """
metrics.loss < 0.3
metrics.loss <= 0.5
metrics.acc >= 3 AND metrics.acc < 6
metrics.acc = 4
metrics.acc != 4
metric.acc > 7.5
metrics.`acc` > 6
metrics."acc" > 6
metrics.rare > 0
metrics.rare != 0
metrics.none > 0
metrics.loss > -1
metrics.loss < 1e-1
params.depth = '3'
params.depth = "3"
params.depth != '3'
param.depth = '3'
parameters.depth LIKE '%'
params.depth > '3'
params.kind LIKE 'T%'
params.kind LIKE 't%'
params.kind ILIKE 't%'
params.kind LIKE '_ree'
params.`with space` = 'y'
params.none = 'x'
params.none != 'x'
tags.odd = '1'
tag.odd != '1'
tags.Team LIKE 'Team _'
tags.Team ILIKE 'TEAM 3'
tags.`mlflow.runName` = 'run 3'
tags.mlflow.runName = 'run 3'
tags."mlflow.runName" LIKE '%4'
tags.none IS NULL
tags.odd IS NOT NULL
params.none IS NULL
params.depth IS NOT NULL
attributes.status = 'FINISHED'
attribute.status != 'FINISHED'
status = 'RUNNING'
status LIKE 'F%'
run.status = 'FAILED'
attributes.run_name = 'run 2'
run_name LIKE 'run %'
run_name ILIKE 'RUN 7'
attributes.`run name` = 'run 2'
attributes.`Run Name` = 'run 2'
attributes.start_time > 1004
start_time = 1001
start_time < 1001
attributes.Created >= 1006
end_time > 2005
attributes.end_time <= 2003
attributes.artifact_uri != 'x'
attributes.user_id != 'nobody'
tags.odd = '1' and metrics.acc > 4
  tags.odd   =   '1'
tags.odd = '1' AND tags.odd = '0'
datasets.name = 'none'
dataset.digest = 'none'
datasets.context = 'train'
""".strip("\n").splitlines():
    attempt(f"where {clause}", lambda clause=clause: names(clause))
attempt("where run_id", lambda: names(f"attributes.run_id = '{ids['run 4']}'"))
attempt("where run_id IN", lambda: names(f"attributes.run_id IN ('{ids['run 4']}', '{ids['run 2']}', 'none')"))
attempt("where run_id NOT IN", lambda: names(f"run_id NOT IN ('{ids['run 4']}')"))
attempt("where run_id LIKE", lambda: names(f"run_id LIKE '{ids['run 4'][:9]}%'"))
for clause in """
metrics.loss < 'a'
metrics.loss
metrics.loss <
< 0.3
metrics.loss LIKE 1
metrics.loss = NaN
metrics.loss IN (1, 2)
metrics.loss IS NULL
params.depth = 3
params.depth IN ('3')
params.depth = '3
params.depth '3'
tags.odd = 1
tags.odd > '1'
foo = 'x'
foo.bar = 'x'
attributes.foo = 'x'
attributes.status = 3
attributes.status > 'A'
attributes.start_time = 'x'
attributes.start_time LIKE '1%'
metrics.loss < 0.3 OR metrics.acc > 3
(metrics.loss < 0.3)
NOT metrics.loss < 0.3
metrics.loss < 0.3 metrics.acc > 3
metrics.loss < 0.3 AND
AND metrics.loss < 0.3
metrics.loss < 0.3;
metrics.loss < 0.3; DROP TABLE runs
metrics. < 1
.loss < 1
params = 'x'
run_id IN ()
run_id IN ('a' 'b')
lifecycle_stage = 'active'
datasets.foo = 'x'
datasets.name > 'x'
tags.odd == '1'
tags.odd <> '1'
tags.odd RLIKE '1'
""".strip("\n").splitlines():
    attempt(f"badly {clause}", lambda clause=clause: names(clause))
for order in [
    ["metrics.loss"],
    ["metrics.loss ASC"],
    ["metrics.loss DESC"],
    ["metric.rare"],
    ["metrics.rare DESC"],
    ["params.depth DESC"],
    ["params.kind", "metrics.acc DESC"],
    ["tags.odd DESC", "params.depth"],
    ["tags.`Team` desc"],
    ["attributes.start_time"],
    ["start_time ASC", "run_name DESC"],
    ["attributes.run_name"],
    ["status"],
    ["end_time DESC"],
    ["attributes.Created ASC"],
    ["metrics.none"],
    ["params.`with space`", "run_name"],
]:
    attempt(
        f"order {order}",
        lambda order=order: names(
            order_by=[*order, "attributes.run_name"]
            if "attributes.run_name" not in order and "run_name" not in order and "run_name DESC" not in order
            else order
        ),
    )
for order in [
    ["foo.bar"],
    ["metrics.loss foo"],
    ["metrics.loss", "metrics.loss"],
    [""],
    ["attributes.foo"],
    ["loss"],
    ["metrics"],
    ["datasets.name"],
]:
    attempt(f"order badly {order}", lambda order=order: names(order_by=order))
attempt("deleted", lambda: names(run_view_type=ViewType.DELETED_ONLY))
attempt("both", lambda: len(names(run_view_type=ViewType.ALL)))
attempt("two experiments", lambda: len(client.search_runs([experiment, other])))
attempt("no experiment", lambda: len(client.search_runs([])))
attempt("an experiment that is not there", lambda: len(client.search_runs(["987654321"])))
page = client.search_runs([experiment], order_by=["run_name"], max_results=4)
see("page one", [run.info.run_name for run in page])
page = client.search_runs([experiment], order_by=["run_name"], max_results=4, page_token=page.token)
see("page two", [run.info.run_name for run in page])
page = client.search_runs([experiment], order_by=["run_name"], max_results=4, page_token=page.token)
see("page three", [[run.info.run_name for run in page], page.token])
attempt("a wrong token", lambda: names(page_token="nonsense!"))
attempt("no results", lambda: names(max_results=0))
attempt("too many results", lambda: names(max_results=50_001))
attempt("as a frame", lambda: list(mlflow.search_runs([experiment], "metrics.acc > 5").sort_values("tags.Team")["params.depth"]))
attempt("by name", lambda: len(mlflow.search_runs(experiment_names=[NAME], output_format="list")))
see("a whole run", client.search_runs([experiment], "params.depth = '5'")[0])

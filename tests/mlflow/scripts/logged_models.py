"""Logged models of MLflow 3: made, searched, tagged, deleted."""

import mlflow
from mlflow import MlflowClient
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
with mlflow.start_run(run_name="source") as run:
    pass
made = [
    client.create_logged_model(
        experiment,
        name=f"model-{number}",
        source_run_id=run.info.run_id,
        tags={"odd": str(number % 2)},
        params={"depth": str(number)},
        model_type="agent",
    )
    for number in range(6)
]
one = made[0]
see("made", one.to_dictionary())
attempt("get", lambda: client.get_logged_model(one.model_id).to_dictionary())
attempt("get none", lambda: client.get_logged_model("m-" + "0" * 32))
attempt("finish", lambda: client.finalize_logged_model(one.model_id, "READY").status)
attempt("fail", lambda: client.finalize_logged_model(made[1].model_id, "FAILED").status)
attempt("a wrong state", lambda: client.finalize_logged_model(one.model_id, "NONSENSE"))
attempt(
    "tag",
    lambda: [client.set_logged_model_tags(one.model_id, {"k": "v", "odd": "x"}), client.get_logged_model(one.model_id).tags],
)
attempt("untag", lambda: [client.delete_logged_model_tag(one.model_id, "k"), client.get_logged_model(one.model_id).tags])
attempt("untag again", lambda: client.delete_logged_model_tag(one.model_id, "k"))
attempt("tag none", lambda: client.set_logged_model_tags("m-" + "0" * 32, {"k": "v"}))
attempt("params", lambda: [client.log_model_params(one.model_id, {"more": "1"}), client.get_logged_model(one.model_id).params])
attempt("a bad name", lambda: client.create_logged_model(experiment, name="a/b"))
attempt("in no experiment", lambda: client.create_logged_model("987654321", name="x"))
attempt("without a name", lambda: client.create_logged_model(experiment).name is not None)
with mlflow.start_run(run_name="scores") as scores:
    for number, model in enumerate(made):
        mlflow.log_metric("acc", number / 10, step=1, model_id=model.model_id)
        mlflow.log_metric("acc", number / 5, step=2, model_id=model.model_id)
see("metrics", [[item.key, item.value, item.step] for item in client.get_logged_model(made[2].model_id).metrics or []])
ORDER = [{"field_name": "name", "ascending": True}]


def names(filter_string=None, order_by=ORDER, **options):
    found = client.search_logged_models([experiment], filter_string=filter_string, order_by=order_by, **options)
    return [item.name for item in found if item.name and item.name.startswith("model-")]


attempt("search", names)
for clause in [
    "name = 'model-3'",
    "name LIKE 'model-%'",
    "name ILIKE 'MODEL-1'",
    "name != 'model-3'",
    "tags.odd = '1'",
    "params.depth = '4'",
    "params.depth != '4'",
    "metrics.acc > 0.5",
    "metrics.acc >= 0.4 AND tags.odd = '0'",
    "status = 'READY'",
    "model_type = 'agent'",
    f"source_run_id = '{run.info.run_id}'",
    "attributes.name = 'model-2'",
    "creation_timestamp > 0",
    "name IN ('model-1', 'model-2')",
]:
    attempt(f"where {clause.replace(run.info.run_id, 'RUN')}", lambda clause=clause: names(clause))
for clause in ["foo = 'x'", "metrics.acc > 'x'", "name", "name = 'a' OR name = 'b'", "params.depth = 4", "name > 'x'"]:
    attempt(f"badly {clause}", lambda clause=clause: names(clause))
for order in [
    [{"field_name": "name", "ascending": False}],
    [{"field_name": "metrics.acc", "ascending": False}],
    [{"field_name": "metrics.acc"}],
    [{"field_name": "creation_time"}],
    [{"field_name": "nothing"}],
    [{"ascending": True}],
]:
    attempt(f"order {order}", lambda order=order: names(order_by=order))
page = client.search_logged_models([experiment], max_results=2, order_by=ORDER, filter_string="name LIKE 'model-%'")
see("page one", [[item.name for item in page], bool(page.token)])
page = client.search_logged_models(
    [experiment], max_results=2, order_by=ORDER, filter_string="name LIKE 'model-%'", page_token=page.token
)
see("page two", [item.name for item in page])
attempt("in none", lambda: len(client.search_logged_models(["987654321"])))
attempt("delete", lambda: client.delete_logged_model(made[5].model_id))
attempt("it is gone", lambda: client.get_logged_model(made[5].model_id))
attempt("not found either", lambda: names("name = 'model-5'"))
attempt("delete it again", lambda: client.delete_logged_model(made[5].model_id))

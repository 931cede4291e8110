"""The life of experiments."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType
from observing import NAME, attempt, see

client = MlflowClient()
first = mlflow.create_experiment(f"{NAME} first", tags={"team": "blue", "empty": ""})
see("get", client.get_experiment(first))
see("get by name", client.get_experiment_by_name(f"{NAME} first"))
attempt("get by a name that is not there", lambda: client.get_experiment_by_name(f"{NAME} none"))
attempt("get an id that is not there", lambda: client.get_experiment("987654321"))
attempt("get an id that is none", lambda: client.get_experiment("abc"))
attempt("create it again", lambda: client.create_experiment(f"{NAME} first"))
attempt("create without a name", lambda: client.create_experiment(""))
attempt("create with a number as name", lambda: client.create_experiment(7))
attempt("create with a long name", lambda: client.create_experiment("x" * 501))
attempt(
    "create elsewhere",
    lambda: client.get_experiment(client.create_experiment(f"{NAME} elsewhere", artifact_location="s3://bucket/x")),
)
attempt(
    "create with a query in the location",
    lambda: client.create_experiment(f"{NAME} query", artifact_location="s3://bucket/x?a=b") is not None,
)
see("set_experiment finds it", mlflow.set_experiment(f"{NAME} first").name)
see("set_experiment makes it", mlflow.set_experiment(f"{NAME} second"))
second = client.get_experiment_by_name(f"{NAME} second").experiment_id
client.set_experiment_tag(second, "k", "v")
client.set_experiment_tag(second, "k", "w")
client.set_experiment_tag(second, "n", 12)
see("tags", client.get_experiment(second).tags)
attempt("a tag without a key", lambda: client.set_experiment_tag(second, "", "v"))
attempt("a long tag", lambda: client.set_experiment_tag(second, "long", "x" * 5001))
attempt("a key of a long tag", lambda: client.set_experiment_tag(second, "k" * 251, "x"))
attempt("a tag of none", lambda: client.set_experiment_tag("987654321", "k", "v"))
attempt("rename", lambda: client.rename_experiment(second, f"{NAME} renamed"))
see("renamed", client.get_experiment(second).name)
attempt("rename to a taken name", lambda: client.rename_experiment(second, f"{NAME} first"))
attempt("rename to nothing", lambda: client.rename_experiment(second, ""))
with mlflow.start_run(experiment_id=second, run_name="inside") as run:
    mlflow.log_metric("m", 1)
attempt("delete", lambda: client.delete_experiment(second))
see("deleted", client.get_experiment(second).lifecycle_stage)
see("its run", client.get_run(run.info.run_id).info.lifecycle_stage)
attempt("delete again", lambda: client.delete_experiment(second))
attempt("delete none", lambda: client.delete_experiment("987654321"))
attempt("tag it", lambda: client.set_experiment_tag(second, "k", "x"))
attempt("rename it", lambda: client.rename_experiment(second, f"{NAME} again"))
attempt("start a run in it", lambda: client.create_run(second))
attempt("its name is taken", lambda: client.create_experiment(f"{NAME} renamed"))
attempt("set_experiment to it", lambda: mlflow.set_experiment(f"{NAME} renamed"))
attempt("restore", lambda: client.restore_experiment(second))
see("restored", client.get_experiment(second).lifecycle_stage)
see("its run is back", client.get_run(run.info.run_id).info.lifecycle_stage)
attempt("restore again", lambda: client.restore_experiment(second))
attempt("delete the default one", lambda: None)

for number in range(7):
    made = client.create_experiment(f"{NAME} many {number}", tags={"odd": str(number % 2), "number": str(number)})
    if number == 6:
        client.delete_experiment(made)


def names(**options):
    found = client.search_experiments(**options)
    return [item.name for item in found]


MANY = f"name LIKE '{NAME} many%'"
attempt("search", lambda: names(filter_string=MANY))
attempt("search deleted ones", lambda: names(view_type=ViewType.DELETED_ONLY, filter_string=MANY))
attempt("search all", lambda: names(view_type=ViewType.ALL, filter_string=MANY))
for clause in [
    "tags.odd = '1'",
    "tag.odd != '1'",
    "tags.`odd` = '0' AND tags.number != '2'",
    "tags.number LIKE '%3%'",
    "tags.odd ILIKE '1'",
    f"name = '{NAME} many 3'",
    "attribute.name ILIKE '%MANY 4'",
    "creation_time > 0",
    "last_update_time >= 0",
]:
    attempt(f"search {clause}", lambda clause=clause: names(filter_string=f"{clause} AND {MANY}"))
for clause in [
    "foo = 'x'",
    "tags.odd = 1",
    "name",
    "name = many",
    "name > 'x'",
    "name = 'a' OR name = 'b'",
    "creation_time = 'x'",
    "params.x = '1'",
    "name IN ('a')",
]:
    attempt(f"search badly {clause}", lambda clause=clause: names(filter_string=clause))
for order in [
    ["name"],
    ["name ASC"],
    ["name DESC"],
    ["creation_time DESC"],
    ["last_update_time ASC"],
    ["experiment_id DESC"],
    ["tags.odd"],
    ["nothing"],
    ["name foo"],
]:
    attempt(f"order {order}", lambda order=order: names(filter_string=MANY, order_by=order))
page = client.search_experiments(max_results=4, filter_string=MANY, order_by=["name"])
see("page one", [item.name for item in page])
page = client.search_experiments(max_results=4, filter_string=MANY, order_by=["name"], page_token=page.token)
see("page two", [item.name for item in page])
see("there is no page three", page.token is None or page.token == "")
attempt("a wrong token", lambda: names(page_token="nonsense!"))
attempt("no results", lambda: names(max_results=0))
attempt("too many results", lambda: names(max_results=50_001))

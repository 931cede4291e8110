"""Registered models, their versions, tags, aliases and stages."""

import mlflow
from mlflow import MlflowClient
from observing import NAME, attempt, see

client = MlflowClient()
mlflow.set_experiment(NAME)
with mlflow.start_run(run_name="source") as run:
    mlflow.log_text("weights", "model/weights.txt")
    mlflow.log_dict(
        {"flavors": {}, "run_id": run.info.run_id, "artifact_path": "model", "utc_time_created": "2026-01-01 00:00:00"},
        "model/MLmodel",
    )
source = f"{run.info.artifact_uri}/model"
ONE = f"{NAME}-one"


def model(name=ONE):
    found = dict(client.get_registered_model(name))
    found["latest_versions"] = sorted(item.version for item in found["latest_versions"] or [])
    return found


attempt("create", lambda: client.create_registered_model(ONE, tags={"a": "b"}, description="what it is"))
attempt("get", model)
attempt("create again", lambda: client.create_registered_model(ONE))
attempt("create without a name", lambda: client.create_registered_model(""))
attempt("a name with a slash", lambda: client.create_registered_model("a/b"))
attempt("a name with a colon", lambda: client.create_registered_model("a:b"))
attempt("a name of spaces", lambda: client.create_registered_model("  "))
attempt("get none", lambda: client.get_registered_model(f"{NAME}-none"))
attempt("describe", lambda: client.update_registered_model(ONE, description="better").description)
attempt("describe none", lambda: client.update_registered_model(f"{NAME}-none", description="x"))
attempt("tag", lambda: [client.set_registered_model_tag(ONE, "k", "v"), model()["tags"]])
attempt("untag", lambda: [client.delete_registered_model_tag(ONE, "k"), model()["tags"]])
attempt("untag again", lambda: client.delete_registered_model_tag(ONE, "k"))
attempt("tag none", lambda: client.set_registered_model_tag(f"{NAME}-none", "k", "v"))
attempt("version one", lambda: client.create_model_version(ONE, source, run.info.run_id, tags={"x": "y"}, description="first"))
attempt("version two", lambda: client.create_model_version(ONE, source, run.info.run_id).version)
attempt("version of none", lambda: client.create_model_version(f"{NAME}-none", source, run.info.run_id))
attempt("a source outside of the run", lambda: client.create_model_version(ONE, "file:///etc", run.info.run_id))
attempt("a source that climbs", lambda: client.create_model_version(ONE, f"{source}/../../../x", run.info.run_id))
attempt("a source of nothing", lambda: client.create_model_version(ONE, ""))
attempt("get one", lambda: client.get_model_version(ONE, 1))
attempt("get three", lambda: client.get_model_version(ONE, 3))
attempt("get a wrong one", lambda: client.get_model_version(ONE, "abc"))
attempt("where it is", lambda: client.get_model_version_download_uri(ONE, 1))
attempt("describe the version", lambda: client.update_model_version(ONE, 1, description="better").description)
attempt("tag the version", lambda: [client.set_model_version_tag(ONE, 1, "q", "r"), client.get_model_version(ONE, 1).tags])
attempt("untag the version", lambda: [client.delete_model_version_tag(ONE, 1, "q"), client.get_model_version(ONE, 1).tags])
attempt("tag no version", lambda: client.set_model_version_tag(ONE, 9, "q", "r"))
attempt("alias", lambda: client.set_registered_model_alias(ONE, "prod", 1))
attempt("what it means", lambda: client.get_model_version_by_alias(ONE, "prod").version)
attempt("its version knows", lambda: client.get_model_version(ONE, 1).aliases)
attempt("the model knows", lambda: model()["aliases"])
attempt(
    "move it", lambda: [client.set_registered_model_alias(ONE, "prod", 2), client.get_model_version_by_alias(ONE, "prod").version]
)
attempt("another one", lambda: [client.set_registered_model_alias(ONE, "Old-1", "1"), model()["aliases"]])
attempt("an alias of no version", lambda: client.set_registered_model_alias(ONE, "prod", 9))
attempt("an alias of no model", lambda: client.set_registered_model_alias(f"{NAME}-none", "prod", 1))
for alias in ["latest", "v1", "V12", "1", "a b", "a/b", "", "x" * 256, "a.b"]:
    attempt(f"an alias {alias[:9]!r}", lambda alias=alias: client.set_registered_model_alias(ONE, alias, 1))
attempt("an alias that is not there", lambda: client.get_model_version_by_alias(ONE, "none"))
attempt("take it away", lambda: client.delete_registered_model_alias(ONE, "prod"))
attempt("it is gone", lambda: client.get_model_version_by_alias(ONE, "prod"))
attempt("take it away again", lambda: client.delete_registered_model_alias(ONE, "prod"))
STAGES = f"{NAME}-stages"
client.create_registered_model(STAGES)
for _ in range(2):
    client.create_model_version(STAGES, source, run.info.run_id)
attempt("a stage", lambda: client.transition_model_version_stage(STAGES, 1, "Staging").current_stage)
attempt("written small", lambda: client.transition_model_version_stage(STAGES, 2, "staging").current_stage)
attempt("a wrong one", lambda: client.transition_model_version_stage(STAGES, 1, "Nonsense"))
attempt(
    "production",
    lambda: client.transition_model_version_stage(STAGES, 2, "Production", archive_existing_versions=True).current_stage,
)
attempt(
    "another in production",
    lambda: client.transition_model_version_stage(STAGES, 1, "Production", archive_existing_versions=True).current_stage,
)
attempt("the first was archived", lambda: client.get_model_version(STAGES, 2).current_stage)
attempt("latest of stages", lambda: [[item.version, item.current_stage] for item in client.get_latest_versions(STAGES)])
attempt("latest in production", lambda: [item.version for item in client.get_latest_versions(STAGES, ["Production"])])
attempt("latest in a wrong one", lambda: client.get_latest_versions(STAGES, ["Nonsense"]))
attempt("a stage of none", lambda: client.transition_model_version_stage(STAGES, 9, "Staging"))
CHAMPION = f"{NAME}-champion"
client.create_registered_model(CHAMPION)
for _ in range(2):
    client.create_model_version(CHAMPION, source, run.info.run_id)
attempt(
    "the champion",
    lambda: [
        client.set_registered_model_alias(CHAMPION, "champion", 1),
        client.get_model_version_by_alias(CHAMPION, "champion").version,
    ],
)
attempt(
    "move the champion",
    lambda: [
        client.set_registered_model_alias(CHAMPION, "champion", 2),
        client.get_model_version_by_alias(CHAMPION, "champion").version,
    ],
)
attempt("delete the version of the champion", lambda: client.delete_model_version(CHAMPION, 2))
for number in range(6):
    client.create_registered_model(f"{NAME}_many_{number}", tags={"odd": str(number % 2)})
    if number < 3:
        client.create_model_version(f"{NAME}_many_{number}", source, run.info.run_id, tags={"n": str(number)})
MANY = f"name LIKE '{NAME}_many%'"


def names(filter_string=MANY, **options):
    return [item.name for item in client.search_registered_models(filter_string, **options)]


attempt("search", names)
for clause in [
    "tags.odd = '1'",
    "tag.odd != '1'",
    "tags.`odd` = '0'",
    f"name ILIKE '{NAME.upper()}_MANY_1'",
    f"name != '{NAME}_many_2'",
]:
    attempt(f"where {clause}", lambda clause=clause: names(f"{clause} AND {MANY}"))
for clause in ["foo = 'x'", "name > 'x'", "name = 'a' OR name = 'b'", "tags.odd = 1", "name", "run_id = 'x'"]:
    attempt(f"badly {clause}", lambda clause=clause: names(clause))
for order in [
    ["name"],
    ["name DESC"],
    ["last_updated_timestamp"],
    ["last_updated_timestamp DESC"],
    ["timestamp ASC"],
    ["creation_timestamp"],
    ["nothing"],
    ["name foo"],
]:
    attempt(f"order {order}", lambda order=order: sorted(names(order_by=order)) if "time" in order[0] else names(order_by=order))
page = client.search_registered_models(MANY, max_results=4)
see("page one", [item.name for item in page])
page = client.search_registered_models(MANY, max_results=4, page_token=page.token)
see("page two", [[item.name for item in page], bool(page.token)])
attempt("too many results", lambda: names(max_results=1001))
attempt("a wrong token", lambda: names(page_token="nonsense!"))


def versions(filter_string, **options):
    return [[item.name, item.version] for item in client.search_model_versions(filter_string, **options)]


for clause in [
    f"name = '{ONE}'",
    f"name='{ONE}' AND run_id = '{run.info.run_id}'",
    MANY,
    f"{MANY} AND tags.n = '1'",
    f"{MANY} and run_id IN ('{run.info.run_id}')",
    f"source_path LIKE '%/model' AND {MANY}",
    f"version_number > 1 AND name = '{ONE}'",
]:
    attempt(
        f"versions where {clause.replace(run.info.run_id, 'RUN')}",
        lambda clause=clause: versions(clause, order_by=["name", "version_number"]),
    )
for clause in ["foo = 'x'", "version = '1'", "name > 'x'", "run_id = 'x' OR name = 'y'", "aliases = 'prod'"]:
    attempt(f"versions badly {clause}", lambda clause=clause: versions(clause))
for order in [["version_number DESC"], ["version_number"], ["name DESC"], ["nothing"]]:
    attempt(f"versions by {order}", lambda order=order: versions(f"name = '{ONE}'", order_by=order))
attempt("a page of versions", lambda: [bool(client.search_model_versions(f"name = '{ONE}'", max_results=1).token)])
attempt("too many versions", lambda: versions(MANY, max_results=200_001))
attempt("rename", lambda: client.rename_registered_model(f"{NAME}_many_0", f"{NAME}-new").name)
attempt("its version came along", lambda: client.get_model_version(f"{NAME}-new", 1).name)
attempt("the old name is gone", lambda: client.get_registered_model(f"{NAME}_many_0"))
attempt("rename to a taken name", lambda: client.rename_registered_model(f"{NAME}-new", ONE))
attempt("rename to nothing", lambda: client.rename_registered_model(f"{NAME}-new", ""))
attempt("copy", lambda: client.copy_model_version(f"models:/{ONE}/1", f"{NAME}-copy").version)
attempt("delete a version", lambda: client.delete_model_version(ONE, 1))
attempt("it is gone too", lambda: client.get_model_version(ONE, 1))
attempt("delete it again", lambda: client.delete_model_version(ONE, 1))
attempt("the next number", lambda: client.create_model_version(ONE, source, run.info.run_id).version)
attempt("delete the model", lambda: client.delete_registered_model(ONE))
attempt("nothing is left", lambda: client.get_registered_model(ONE))
attempt("no version either", lambda: versions(f"name = '{ONE}'"))
attempt("delete none", lambda: client.delete_registered_model(f"{NAME}-none"))
attempt("its name is free", lambda: client.create_registered_model(ONE).name)

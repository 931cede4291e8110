import math
import shutil
import sqlite3

import pytest

from tidegate.errors import BadInputError, NotFoundError, UsageError
from tidegate.records.run import RunState
from tidegate.tracking.importing import import_source, open_mlflow

RUN = "0123456789abcdef0123456789abcdef"
CHILD = "f" * 32
META = """artifact_uri: /elsewhere/mlruns/7/{run}/artifacts
end_time: {end}
experiment_id: '7'
lifecycle_stage: {stage}
run_id: {run}
run_name: first
source_type: 4
start_time: 1700000000000
status: {status}
tags: []
user_id: ada
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def mlruns(tmp_path):
    """A file store as MLflow 3 writes one: a run with everything, a deleted one, a registry, a logged model."""
    root = tmp_path / "mlruns"
    write(root / "7/meta.yaml", "creation_time: 1699999990000\nexperiment_id: '7'\nlifecycle_stage: active\nname: délai/test\n")
    write(root / "7/tags/team", "x")
    run = root / "7" / RUN
    write(run / "meta.yaml", META.format(run=RUN, end=1700000009000, stage="active", status=3))
    write(run / "params/lr", "0.1")
    write(run / "params/nested/key", "a b")
    write(run / "tags/mlflow.note.content", "two\nlines")
    write(run / "metrics/loss", "1700000000001 1.0 0\n1700000000002 nan 1\n1700000000003 inf 2\n1700000000004 -inf 3\n")
    write(run / "metrics/old", "1700000000001 0.5\n")
    write(run / "metrics/sub/on-data", "1700000000001 0.25 4 train d1\n")
    write(run / "artifacts/dir/hello.txt", "hello")
    write(
        run / "inputs/i1/meta.yaml",
        "source_type: DATASET\nsource_id: ds1\ndestination_type: RUN\ntags:\n  mlflow.data.context: training\n",
    )
    write(root / "7/datasets/ds1/meta.yaml", "name: train\ndigest: d1\nsource: here\nsource_type: code\nschema: s\nprofile: p\n")
    write(
        run / "outputs/m-1/meta.yaml", "destination_id: m-1\ndestination_type: MODEL_OUTPUT\nsource_type: RUN_OUTPUT\nstep: 2\n"
    )
    write(root / "7/datasets/ds2/meta.yaml", "name: unused\ndigest: d2\n")
    write(root / "7/traces/tr-1/trace_info.json", "{}")
    write(root / "7/models/m-1/meta.yaml", f"model_id: m-1\nname: model\nsource_run_id: {RUN}\n")
    write(root / "7/models/m-1/artifacts/MLmodel", "flavors: {}\n")
    write(root / "7" / CHILD / "meta.yaml", META.format(run=CHILD, end="null", stage="deleted", status=1))
    write(root / "7" / CHILD / "tags/mlflow.parentRunId", RUN)
    write(root / "models/reg/meta.yaml", "name: reg\ndescription: about\n")
    write(root / "models/reg/version-1/meta.yaml", f"name: reg\nversion: 1\nrun_id: {RUN}\n")
    write(root / "models/reg/aliases/champ", "1")
    write(
        root / ".trash/8/meta.yaml",
        "creation_time: 1\nexperiment_id: '8'\nlifecycle_stage: deleted\nlast_update_time: 5\nname: gone\n",
    )
    return root


@pytest.fixture
def database(tmp_path):
    """The tables of MLflow 2 and 3, as far as they are read."""
    path = tmp_path / "source/mlflow.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.executescript(f"""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT, creation_time BIGINT, last_update_time BIGINT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, user_id TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
                lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER, deleted_time BIGINT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
            CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
            CREATE TABLE datasets (dataset_uuid TEXT, name TEXT, digest TEXT, dataset_source_type TEXT, dataset_source TEXT,
                dataset_schema TEXT, dataset_profile TEXT);
            CREATE TABLE inputs (input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT, step BIGINT);
            CREATE TABLE input_tags (input_uuid TEXT, name TEXT, value TEXT);
            CREATE TABLE registered_models (name TEXT);
            CREATE TABLE secrets (encrypted_value TEXT);
            CREATE TABLE issues (name TEXT);
            INSERT INTO experiments VALUES (1, 'sql', 'active', 1699999990000, 1699999990000);
            INSERT INTO experiment_tags VALUES ('team', 'x', 1);
            INSERT INTO runs VALUES ('{RUN}', 'first', 'ada', 'FAILED', 1700000000000, 1700000009000, 'active',
                'mlflow-artifacts:/1/{RUN}/artifacts', 1, NULL);
            INSERT INTO runs VALUES ('{CHILD}', 'second', 'ada', 'RUNNING', 1700000000000, NULL, 'deleted',
                's3://bucket/1/{CHILD}/artifacts', 1, 1700000020000);
            INSERT INTO params VALUES ('lr', '0.1', '{RUN}');
            INSERT INTO tags VALUES ('mlflow.note.content', 'a note', '{RUN}');
            INSERT INTO metrics VALUES ('loss', 1.0, 1700000000001, '{RUN}', 0, 0), ('loss', 0, 1700000000002, '{RUN}', 1, 1),
                ('loss', 1.7976931348623157e308, 1700000000003, '{RUN}', 2, 0);
            INSERT INTO datasets VALUES ('u1', 'train', 'd1', 'code', 'here', 's', 'p');
            INSERT INTO inputs VALUES ('i1', 'DATASET', 'u1', 'RUN', '{RUN}', 0), ('i2', 'RUN_OUTPUT', '{RUN}', 'MODEL_OUTPUT', 'm-1', 2);
            INSERT INTO datasets VALUES ('u2', 'unused', 'd2', 'code', 'here', 's', 'p');
            INSERT INTO input_tags VALUES ('i1', 'mlflow.data.context', 'training');
            INSERT INTO registered_models VALUES ('reg');
            INSERT INTO secrets VALUES ('x');
            INSERT INTO issues VALUES ('slow');
        """)
    connection.close()
    write(path.parent / "mlartifacts/1" / RUN / "artifacts/hello.txt", "hello")
    return path


@pytest.fixture
def bring(store, clock):
    return lambda path: import_source(store, open_mlflow(path), clock=clock)


def the_files(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def values_of(store, metric):
    return [repr(value) for value in store.series.points(RUN, metric).values.tolist()]


def test_a_file_store_comes_whole(store, bring, mlruns):
    before = the_files(mlruns)
    report = bring(mlruns.parent)
    assert report.problems == []
    assert the_files(mlruns) == before
    run = store.runs.get(RUN)
    assert (run.experiment, run.name, run.author, run.state) == ("délai/test", "first", "ada", RunState.FINISHED)
    assert (run.started_at, run.ended_at) == (1700000000000000, 1700000009000000)
    assert run.params == {"lr": "0.1", "nested/key": "a b"}
    assert run.tags["mlflow.note.content"] == "two\nlines"
    assert values_of(store, "loss") == ["1.0", "nan", "inf", "-inf"]
    assert store.series.points(RUN, "loss").times.tolist()[0] == 1700000000001000
    assert store.series.points(RUN, "old").steps.tolist() == [0]
    assert store.series.points(RUN, "sub/on-data").steps.tolist() == [4]
    assert set(run.artifacts) == {"dir/hello.txt", "mlflow/metrics-on-datasets.json"}
    assert {(item.name, item.source_type) for item in run.inputs} == {("train", "code"), ("m-1", "mlflow.model-output")}
    child = store.runs.get(CHILD)
    assert (child.state, child.tags["mlflow.parentRunId"], child.deleted_at is None) == (RunState.RUNNING, RUN, False)
    assert store.experiments.find("gone").deleted_at == 5000
    rest = store.runs.search(experiments=["mlflow-import"])[0]
    assert set(rest.artifacts) == {
        "registry.json",
        "logged-models/m-1.json",
        "logged-models/m-1/MLmodel",
        "7/datasets/ds2/meta.yaml",
        "7/traces/tr-1/trace_info.json",
    }
    assert all(count.imported == 0 for count in bring(mlruns).counts.values())


def test_a_copied_folder_is_the_same_runs(store, bring, mlruns, tmp_path):
    bring(mlruns)
    shutil.copytree(mlruns, tmp_path / "copy")
    with (tmp_path / "copy/7" / RUN / "metrics/loss").open("a") as file:
        file.write("1700000000009 0.125 9\n")
    report = bring(tmp_path / "copy")
    assert report.runs == []
    assert report.counts["points"].imported == 1


def test_what_is_broken_is_told_and_the_rest_comes(store, bring, mlruns):
    write(mlruns / "7" / CHILD / "meta.yaml", "")
    with (mlruns / "7" / RUN / "metrics/loss").open("a") as file:
        file.write("not a number 3\n1700000000009 0.125 9\n99999999999999999999 1 1\n")
    write(mlruns / "7" / RUN / "params/bytes", b"\xff\xfe")
    (mlruns / "7" / RUN / "artifacts/link").symlink_to("/etc/hostname")
    write(mlruns / "9/readme.txt", "no experiment")
    report = bring(mlruns)
    kinds = sorted(problem.kind for problem in report.problems)
    assert kinds == ["artifacts", "experiments", "params", "points", "points", "runs"]
    assert all(problem.where and problem.why for problem in report.problems)
    assert values_of(store, "loss")[-1] == "0.125"


@pytest.mark.parametrize("time", ["noon", "1" * 30, "[1]", "1.0e+400"])
def test_a_run_with_a_time_that_is_none_is_told_and_the_rest_comes(store, bring, mlruns, time):
    write(mlruns / "7" / CHILD / "meta.yaml", META.format(run=CHILD, end=time, stage="active", status=3))
    report = bring(mlruns)
    assert [problem.kind for problem in report.problems] == ["runs"]
    assert store.runs.get(RUN).name == "first"


def test_a_record_cannot_lead_to_other_files_of_this_machine(store, bring, mlruns, tmp_path):
    write(tmp_path / "private/key", "secret")
    run = mlruns / "7" / RUN
    shutil.rmtree(run / "artifacts")
    meta = (run / "meta.yaml").read_text()
    for uri in (tmp_path / "private", f"{tmp_path}/private/{RUN}/..", f"file://{tmp_path}/private"):
        write(run / "meta.yaml", meta.replace(f"/elsewhere/mlruns/7/{RUN}/artifacts", str(uri)))
        bring(mlruns)
        assert "key" not in store.runs.get(RUN).artifacts


def test_a_database_comes_whole(store, bring, database):
    before = the_files(database.parent)
    report = bring(database.parent)
    assert the_files(database.parent) == before
    assert sorted((problem.kind, problem.where) for problem in report.problems) == [
        ("artifacts", f"s3://bucket/1/{CHILD}/artifacts"),
        ("records", "secrets"),
    ]
    run = store.runs.get(RUN)
    assert (run.experiment, run.state, run.params, run.author) == ("sql", RunState.FAILED, {"lr": "0.1"}, "ada")
    assert values_of(store, "loss") == ["1.0", "nan", "inf"]
    assert math.isinf(store.series.points(RUN, "loss").values[-1])
    assert set(run.artifacts) == {"hello.txt"}
    assert {(item.name, item.source, item.tags.get("step")) for item in run.inputs} == {("train", "here", None), ("m-1", "", "2")}
    assert store.runs.get(CHILD).deleted_at == 1700000020000000
    rest = store.runs.search(experiments=["mlflow-import"])[0]
    assert set(rest.artifacts) == {"registry.json", "tables/issues.json", "tables/datasets.json"}
    assert all(count.imported == 0 for count in bring(database).counts.values())


def test_a_database_in_use_is_read_with_what_it_has_in_its_log(store, bring, database):
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("INSERT INTO params VALUES ('late', '1', ?)", (RUN,))
    writer.commit()
    bring(database)
    writer.close()
    assert store.runs.get(RUN).params["late"] == "1"


def test_what_is_not_mlflow_s_is_refused(bring, tmp_path):
    with pytest.raises(NotFoundError, match="no file or folder"):
        bring(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing that MLflow wrote"):
        bring(tmp_path / "empty")
    write(tmp_path / "text.db", "no database")
    with pytest.raises(BadInputError, match="no sound SQLite database"):
        bring(tmp_path / "text.db")
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE experiments (x)")
    connection.close()
    with pytest.raises(UsageError, match="no database of MLflow"):
        bring(tmp_path / "other.db")


def test_a_damaged_database_is_refused(bring, database):
    data = bytearray(database.read_bytes())
    data[4096 : 4096 * 3] = b"\x7f" * 8192
    database.write_bytes(data)
    with pytest.raises(BadInputError, match="no sound SQLite database"):
        bring(database)

"""Versions that MLflow clients make: their files are packages of ours, confined to what the request names."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_house import FILES, Refused, RegistryHouse

from tidegate.errors import RefusedError
from tidegate.records.ledger import Registered, Staged
from tidegate.workspace import Workspace


@pytest.fixture
def house(tmp_path):
    workspace = Workspace.open(tmp_path, actor="ana")
    yield RegistryHouse(workspace)
    workspace.store.close()


def test_a_version_is_a_package_of_ours_in_the_ledger(house):
    run_id = house.model(versions=0)
    made = house.version("delay", run_id, description="first", run_link="http://x", tags=[{"key": "k", "value": "v"}])
    assert made == house.get_version(1) == made | {
        "version": "1", "name": "delay", "status": "READY", "current_stage": "None", "source": f"runs:/{run_id}/model",
        "run_id": run_id, "run_link": "http://x", "description": "first", "tags": [{"key": "k", "value": "v"}],
    }  # fmt: skip
    package = house.workspace.models.get("delay@1")
    manifest = package.manifest
    assert [file.path for file in manifest.files] == sorted(FILES)
    assert (manifest.format, manifest.task, manifest.loads_code, manifest.author) == ("mlflow", "unknown", True, "ana")
    assert [(tensor.name, tensor.dtype, tensor.nullable) for tensor in manifest.signature.inputs] == [
        ("wind", "float64", False), ("carrier", "string", True),
    ]  # fmt: skip
    assert manifest.lineage.packages == {"mlflow": "3.18.0", "scikit-learn": "1.9.1"}
    assert manifest.lineage.run == run_id
    assert house.events() == [Registered(version=1, digest=package.digest)]
    assert house.workspace.models.verify(package) == []
    with pytest.raises(RefusedError, match="runs code"):
        house.workspace.models.load(package)


def test_the_same_files_twice_are_two_versions(house):
    house.model(versions=2)
    assert [house.get_version(number)["version"] for number in (1, 2)] == ["1", "2"]


def test_versions_made_at_once_all_get_their_own_number(house):
    run_id = house.model(versions=0)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: house.version("delay", run_id)["version"], range(12)))
    assert sorted(map(int, made)) == list(range(1, 13))
    assert house.workspace.release.verify("delay") == []


def test_a_version_keeps_its_files_when_the_run_loses_them(house):
    run_id = house.model()
    house.upload(f"0/{run_id}/artifacts/model/model.pkl", b"other weights")
    house.workspace.store.artifacts.remove(run_id, ["model/MLmodel"])
    uri = house.ask("GET", "model-versions/get-download-uri", name="delay", version="1")["artifact_uri"]
    root = uri.removeprefix("mlflow-artifacts:/")
    assert house.listed(root) == sorted(FILES)
    assert {path: house.download(f"{root}/{path}") for path in FILES} == FILES
    for change in (lambda: house.upload(f"{root}/model.pkl", b"x"), lambda: house.remove(root)):
        with pytest.raises(Refused, match="immutable"):
            change()
    assert house.download(f"{root}/model.pkl") == FILES["model.pkl"]


def test_files_come_from_runs_logged_models_and_versions(house):
    run_id = house.model()
    model_id = house.logged("forest", run_id)
    made = [
        house.version("delay", run_id, source=f"mlflow-artifacts:/0/{run_id}/artifacts/model"),
        house.version("delay", run_id, source=f"runs:/{run_id}/forest"),
        house.version("delay", run_id, source=f"models:/{model_id}", model_id=model_id),
        house.version("delay", run_id, source=f"mlflow-artifacts:/0/models/{model_id}/artifacts", model_id=model_id),
        house.version("delay", run_id, source="models:/delay/1"),
        house.version("delay", run_id, source="models:/delay/latest"),
    ]
    assert [version["run_id"] for version in made] == [run_id] * 6
    digests = {tuple(house.workspace.models.get(f"delay@{n}").manifest.files) for n in range(1, 8)}
    assert len(digests) == 1
    tags = {tag["key"]: tag["value"] for tag in house.ask("GET", f"logged-models/{model_id}")["model"]["info"]["tags"]}
    made_of_it = [{"name": "delay", "version": number} for number in (3, 4, 5)]
    assert json.loads(tags["mlflow.modelVersions"]) == made_of_it


def test_a_source_is_confined_to_what_the_request_names(house):
    run_id, other = house.model(), house.run_with_model()
    model_id = house.logged()
    bad = [
        ("/etc/passwd", {"run_id": run_id}),
        ("file:///etc/passwd", {"run_id": run_id}),
        ("s3://bucket/model", {"run_id": run_id}),
        (f"runs:/{other}/model", {"run_id": run_id}),
        (f"runs:/{run_id}/model", {}),
        (f"runs:/{run_id}/model", {"run_id": run_id, "model_id": model_id}),
        (f"runs://host/{run_id}/model", {"run_id": run_id}),
        (f"runs:/{run_id}/../{other}/model", {"run_id": run_id}),
        (f"runs:/{run_id}/%2e%2e/{other}/model", {"run_id": run_id}),
        (f"runs:/{run_id}/%252e%252e/x", {"run_id": run_id}),
        (f"runs:/{run_id}/model%00", {"run_id": run_id}),
        (f"runs:/{run_id}/nothing", {"run_id": run_id}),
        (f"mlflow-artifacts:/0/{other}/artifacts/model", {"run_id": run_id}),
        (f"mlflow-artifacts:/1/{run_id}/artifacts/model", {"run_id": run_id}),
        (f"mlflow-artifacts:/0/{run_id}/artifactsmodel", {"run_id": run_id}),
        (f"mlflow-artifacts://host/0/{run_id}/artifacts/model", {"run_id": run_id}),
        (f"mlflow-artifacts:/0/{run_id}/artifacts/model", {}),
        ("mlflow-artifacts:/models/delay@1/artifacts", {"run_id": run_id}),
        (f"models:/{model_id}", {}),
        (f"models:/{model_id}", {"model_id": "m-" + "0" * 32}),
        ("models:/delay/1", {"run_id": other}),
        ("models://registry/delay/1", {}),
        ("models:/delay", {}),
        ("models:/delay/Staging", {}),
        ("models:/delay@nope", {}),
        ("runs:/nope/model", {"run_id": "nope"}),
        ("", {"run_id": run_id}),
    ]
    for source, fields in bad:
        with pytest.raises(Refused) as caught:
            house.ask("POST", "model-versions/create", name="delay", source=source, **fields)
        assert caught.value.code == "INVALID_PARAMETER_VALUE", source
    for source in ("models:/nope/1", "models:/delay/9"):
        with pytest.raises(Refused) as caught:
            house.ask("POST", "model-versions/create", name="delay", source=source)
        assert caught.value.status == 404
    assert len(house.events()) == 1


def test_a_version_that_is_not_there(house):
    house.model()
    for number, status in [("7", 404), ("x", 400), ("99999999999999999999", 400)]:
        with pytest.raises(Refused) as caught:
            house.ask("GET", "model-versions/get", name="delay", version=number)
        assert caught.value.status == status


def test_search_finds_by_what_mlflow_knows(house):
    first = house.model(versions=2)
    second = house.run_with_model()
    house.version("delay", second, tags=[{"key": "k", "value": "v"}])
    house.model("other")
    house.ask("PATCH", "model-versions/update", name="delay", version="1", description="newer")

    def search(**fields):
        found = house.ask("GET", "model-versions/search", **fields)
        return [(item["name"], item["version"]) for item in found.get("model_versions", [])]

    assert search(filter="name = 'delay'", order_by="version_number ASC") == [("delay", "1"), ("delay", "2"), ("delay", "3")]
    assert search(filter=f"run_id = '{second}'") == [("delay", "3")]
    assert search(filter=f"run_id IN ('{first}', '{second}') AND version_number > 1", order_by="version_number DESC") == [
        ("delay", "3"), ("delay", "2"),
    ]  # fmt: skip
    assert search(filter="tags.k = 'v'") == [("delay", "3")]
    assert search(filter=f"source_path LIKE 'runs:/{second}%'") == [("delay", "3")]
    assert search(filter="name = 'nope'") == []
    assert search(filter="name = 'delay' OR name = 'other'", order_by=["name ASC", "version_number ASC"])[-1] == ("other", "1")
    assert search()[0] == ("delay", "1")
    page = house.ask("GET", "model-versions/search", max_results=3, order_by="name ASC")
    assert search(max_results=3, order_by="name ASC", page_token=page["next_page_token"]) == [("other", "1")]
    for bad in ({"max_results": 0}, {"max_results": 200001}, {"filter": "stage = 'x'"}, {"filter": "last_updated_timestamp > 0"}):
        with pytest.raises(Refused):
            search(**bad)


def test_a_description_may_be_taken_away_and_tags_change(house):
    house.model()
    house.ask("POST", "model-versions/set-tag", name="delay", version="1", key="a", value="b")
    house.ask("PATCH", "model-versions/update", name="delay", version="1", description="x")
    assert house.get_version(1)["description"] == "x"
    house.ask("PATCH", "model-versions/update", name="delay", version="1")
    assert "description" not in house.get_version(1)
    house.ask("DELETE", "model-versions/delete-tag", name="delay", version="1", key="a")
    assert "tags" not in house.get_version(1)


def test_a_deleted_version_is_hidden_with_its_aliases_and_stays_in_the_ledger(house):
    run_id = house.model(versions=2)
    house.ask("POST", "registered-models/alias", name="delay", alias="best", version="2")
    house.ask("DELETE", "model-versions/delete", name="delay", version="2")
    for path in ("get", "get-download-uri"):
        with pytest.raises(Refused) as caught:
            house.ask("GET", f"model-versions/{path}", name="delay", version="2")
        assert caught.value.status == 404
    assert "aliases" not in house.get()
    assert house.version("delay", run_id)["version"] == "3"
    assert house.workspace.models.get("delay@2").version == 2


def test_stages_are_ledger_entries_and_archive_each_other(house):
    house.model(versions=3)
    move = lambda number, stage, archive=False: house.ask(  # noqa: E731
        "POST",
        "model-versions/transition-stage",
        name="delay",
        version=str(number),
        stage=stage,
        archive_existing_versions=archive,
    )["model_version"]["current_stage"]
    assert move(1, "staging") == "Staging"
    assert move(1, "STAGING") == "Staging"
    assert move(2, "Staging", archive=True) == "Staging"
    assert [house.get_version(number)["current_stage"] for number in (1, 2, 3)] == ["Archived", "Staging", "None"]
    assert [event for event in house.events() if isinstance(event, Staged)] == [
        Staged(version=1, stage="Staging"), Staged(version=2, stage="Staging", archived=[1]),
    ]  # fmt: skip
    latest = house.ask("POST", "registered-models/get-latest-versions", name="delay")["model_versions"]
    assert [(version["version"], version["current_stage"]) for version in latest] == [
        ("1", "Archived"),
        ("2", "Staging"),
        ("3", "None"),
    ]
    only = house.ask("GET", "registered-models/get-latest-versions", name="delay", stages=["staging"])["model_versions"]
    assert [version["version"] for version in only] == ["2"]
    assert house.ask("POST", "registered-models/get-latest-versions", name="delay", stages=["Production"]) == {}
    for stage, archive in [("bogus", False), ("none", True)]:
        with pytest.raises(Refused) as caught:
            move(1, stage, archive)
        assert caught.value.code == "INVALID_PARAMETER_VALUE"

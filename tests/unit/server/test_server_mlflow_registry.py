"""Registered models of MLflow clients: what they keep, how they are found, and that nothing of ours is lost by them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from registry_house import Refused, RegistryHouse
from sklearn.linear_model import LinearRegression

from tidegate.models import Candidate
from tidegate.records.ledger import Registered
from tidegate.workspace import Workspace


@pytest.fixture
def house(tmp_path):
    workspace = Workspace.open(tmp_path, actor="ana")
    yield RegistryHouse(workspace)
    workspace.store.close()


def names(found):
    return [model["name"] for model in found.get("registered_models", [])]


def own(workspace, name="minutes"):
    rows = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    estimator = LinearRegression().fit(rows, rows.sum(axis=1))
    example = pl.DataFrame({"a": rows[:, 0], "b": rows[:, 1]})
    fitted = LinearRegression().fit(example.to_numpy(), rows.sum(axis=1))
    del estimator
    return workspace.register(Candidate(name, fitted, example, "regression", description="how late"))


def test_a_model_is_created_once_with_what_was_said_of_it(house):
    made = house.ask("POST", "registered-models/create", name="delay", description="d", tags=[{"key": "team", "value": "ops"}])
    assert made["registered_model"]["tags"] == [{"key": "team", "value": "ops"}]
    assert house.get()["description"] == "d"
    assert isinstance(house.get()["creation_timestamp"], int)
    with pytest.raises(Refused, match="already exists") as caught:
        house.ask("POST", "registered-models/create", name="delay")
    assert (caught.value.status, caught.value.code) == (400, "RESOURCE_ALREADY_EXISTS")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "has space", "-x", "..", "x" * 101, "é"])
def test_a_name_that_no_model_of_ours_can_have_is_refused_with_a_sentence(house, name):
    with pytest.raises(Refused) as caught:
        house.ask("POST", "registered-models/create", name=name)
    assert caught.value.code == "INVALID_PARAMETER_VALUE"


def test_what_is_not_there_is_404(house):
    for method, path in [
        ("GET", "get"), ("PATCH", "update"), ("DELETE", "delete"), ("POST", "get-latest-versions"), ("POST", "rename"),
    ]:  # fmt: skip
        with pytest.raises(Refused, match="Registered Model with name=nope not found") as caught:
            house.ask(method, f"registered-models/{path}", name="nope", new_name="x")
        assert caught.value.status == 404


def test_tags_and_description_change(house):
    house.model()
    house.ask("POST", "registered-models/set-tag", name="delay", key="a", value="1")
    house.ask("POST", "registered-models/set-tag", name="delay", key="a", value="2")
    house.ask("DELETE", "registered-models/delete-tag", name="delay", key="not there")
    assert house.get()["tags"] == [{"key": "a", "value": "2"}]
    house.ask("DELETE", "registered-models/delete-tag", name="delay", key="a")
    assert "tags" not in house.get()
    house.ask("PATCH", "registered-models/update", name="delay", description="new")
    assert house.get()["description"] == "new"
    with pytest.raises(Refused, match="Missing value"):
        house.ask("POST", "registered-models/set-tag", name="delay", value="1")


def test_tags_of_many_clients_at_once_are_all_kept(house):
    house.model()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: house.ask("POST", "registered-models/set-tag", name="delay", key=f"k{n}", value=str(n)), range(24))
        )
    assert {tag["key"] for tag in house.get()["tags"]} == {f"k{n}" for n in range(24)}


def test_of_many_who_create_the_same_model_one_does(house):
    barrier, made, codes = threading.Barrier(8), [], set()

    def create(number):
        barrier.wait()
        try:
            house.ask("POST", "registered-models/create", name="delay", description=str(number))
            made.append(number)
        except Refused as error:
            codes.add(error.code)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    assert [house.get()["description"]] == [str(number) for number in made]
    assert codes == {"RESOURCE_ALREADY_EXISTS"}


def test_a_renamed_model_keeps_its_ledger_and_its_first_name_stays_taken(house):
    house.model(versions=2)
    house.ask("POST", "registered-models/alias", name="delay", alias="best", version="2")
    house.ask("POST", "registered-models/rename", name="delay", new_name="lateness")
    assert {version["name"] for version in house.get("lateness")["latest_versions"]} == {"lateness"}
    assert house.get("lateness")["aliases"] == [{"alias": "best", "version": "2"}]
    with pytest.raises(Refused) as caught:
        house.get("delay")
    assert caught.value.status == 404
    with pytest.raises(Refused, match="it was renamed to lateness"):
        house.ask("POST", "registered-models/create", name="delay")
    assert house.ask("GET", "model-versions/get-download-uri", name="lateness", version="1")["artifact_uri"].endswith(
        "/delay@1/artifacts"
    )
    assert len([event for event in house.events("delay") if isinstance(event, Registered)]) == 2
    house.ask("POST", "registered-models/rename", name="lateness", new_name="minutes")
    house.ask("POST", "registered-models/create", name="lateness")  # nobody's name any more
    house.ask("POST", "registered-models/rename", name="minutes", new_name="delay")
    assert names(house.ask("GET", "registered-models/search")) == ["delay", "lateness"]


def test_a_model_is_not_renamed_to_a_name_that_is_taken(house):
    house.model("delay")
    house.model("other")
    own(house.workspace, "minutes")
    for taken in ("other", "minutes"):
        with pytest.raises(Refused, match="already exists"):
            house.ask("POST", "registered-models/rename", name="delay", new_name=taken)
    assert house.get("delay")["name"] == "delay"
    assert house.get("other")["name"] == "other"


def test_what_is_deleted_is_hidden_and_its_numbers_are_never_given_again(house):
    run_id = house.model(versions=2, description="old")
    house.ask("POST", "registered-models/alias", name="delay", alias="best", version="2")
    house.ask("DELETE", "registered-models/delete", name="delay")
    with pytest.raises(Refused) as caught:
        house.get()
    assert caught.value.status == 404
    assert names(house.ask("GET", "registered-models/search")) == []
    assert house.ask("GET", "model-versions/search") == {}
    assert house.workspace.release.state("delay").aliases == {}
    house.ask("POST", "registered-models/create", name="delay")
    assert "latest_versions" not in house.get()
    assert "description" not in house.get()
    assert house.version("delay", run_id)["version"] == "3"
    assert house.workspace.release.verify("delay") == []


def test_search_filters_orders_and_pages(house):
    for number, name in enumerate(["aa", "ab", "b"]):
        house.ask("POST", "registered-models/create", name=name, tags=[{"key": "n", "value": str(number)}])
    search = lambda **fields: names(house.ask("GET", "registered-models/search", **fields))  # noqa: E731
    assert search() == ["aa", "ab", "b"]
    assert search(filter="name LIKE 'a%'") == ["aa", "ab"]
    assert search(filter="name ILIKE 'A%' AND tags.n != '0'") == ["ab"]
    assert search(filter="tag.n = '2'") == ["b"]
    assert search(filter="name IN ('b', 'aa')") == ["aa", "b"]
    assert search(order_by="name DESC") == ["b", "ab", "aa"]
    assert search(order_by=["last_updated_timestamp ASC", "name DESC"])[-1] in {"aa", "b"}
    first = house.ask("GET", "registered-models/search", max_results=2)
    assert search(max_results=2, page_token=first["next_page_token"]) == ["b"]
    for bad in ({"filter": "nam = 'x'"}, {"max_results": 0}, {"max_results": 1001}, {"page_token": "?"}, {"order_by": "tags.n"},
                {"filter": "creation_timestamp > 0"}):  # fmt: skip
        with pytest.raises(Refused) as caught:
            search(**bad)
        assert caught.value.code == "INVALID_PARAMETER_VALUE"


def test_prompts_are_models_that_only_who_asks_for_them_finds(house):
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    house.ask("POST", "registered-models/create", name="hello", tags=prompt)
    house.model("delay")
    made = house.ask(
        "POST",
        "model-versions/create",
        name="hello",
        source="dummy-source",
        tags=[*prompt, {"key": "mlflow.prompt.text", "value": "Hi"}],
    )["model_version"]
    assert (made["version"], made["status"], made["source"]) == ("1", "READY", "dummy-source")
    key = "tags.`mlflow.prompt.is_prompt`"
    assert names(house.ask("GET", "registered-models/search")) == ["delay"]
    assert names(house.ask("GET", "registered-models/search", filter=f"{key} = 'true'")) == ["hello"]
    assert names(house.ask("GET", "registered-models/search", filter=f"{key} != 'true'")) == ["delay"]
    assert names(house.ask("GET", "registered-models/search", filter=f"{key} = 'false'")) == ["delay"]
    found = house.ask("GET", "model-versions/search", filter=f"name = 'hello' AND {key} = 'true'")["model_versions"]
    assert found[0]["tags"][1]["value"] == "Hi"
    assert house.ask("GET", "model-versions/search", filter="name = 'hello'") == {}
    with pytest.raises(Refused, match="placeholder"):
        house.ask("POST", "model-versions/create", name="hello", source="runs:/x", tags=prompt)
    with pytest.raises(Refused, match="already taken by a prompt"):
        house.ask("POST", "registered-models/create", name="hello")


def test_models_of_our_pipelines_are_seen_with_versions_and_files(house):
    version = own(house.workspace)
    model = house.get("minutes")
    assert names(house.ask("GET", "registered-models/search")) == ["minutes"]
    assert model["latest_versions"][0]["description"] == "how late"
    uri = house.ask("GET", "model-versions/get-download-uri", name="minutes", version="1")["artifact_uri"]
    assert uri == model["latest_versions"][0]["source"] == "mlflow-artifacts:/models/minutes@1/artifacts"
    root = uri.removeprefix("mlflow-artifacts:/")
    assert house.listed(root) == ["manifest.json", "model.onnx"]
    assert (
        house.download(f"{root}/model.onnx")[:4]
        == house.workspace.store.bucket.local(
            f"objects/sha256/{version.manifest.files[0].digest[:2]}/{version.manifest.files[0].digest[2:]}"
        ).read_bytes()[:4]
    )
    assert b'"name":"minutes"' in house.download(f"{root}/manifest.json")
    house.ask("POST", "registered-models/set-tag", name="minutes", key="a", value="b")
    house.ask("POST", "model-versions/set-tag", name="minutes", version="1", key="c", value="d")
    assert house.get("minutes")["tags"] == [{"key": "a", "value": "b"}]
    assert house.get_version(1, "minutes")["description"] == "how late"
    assert house.get_version(1, "minutes")["tags"] == [{"key": "c", "value": "d"}]


def test_a_deleted_model_comes_back_when_a_pipeline_makes_a_version(house):
    own(house.workspace)
    house.ask("DELETE", "registered-models/delete", name="minutes")
    assert names(house.ask("GET", "registered-models/search")) == []
    rows = np.arange(40.0).reshape(20, 2)
    fitted = LinearRegression().fit(rows, rows[:, 0])
    house.workspace.register(Candidate("minutes", fitted, rows, "regression"))
    assert [version["version"] for version in house.get("minutes")["latest_versions"]] == ["2"]


def test_the_index_may_be_lost(house):
    own(house.workspace)
    house.workspace.store.catalog.clear()
    assert house.get("minutes")["latest_versions"][0]["description"] == "how late"

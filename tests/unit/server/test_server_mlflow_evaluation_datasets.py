"""Evaluation datasets as clients of MLflow 3 make, fill and search them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_client import Answer, Client
from starlette.applications import Starlette

from tidegate.server.mlflow import evaluation_datasets
from tidegate.workspace import Workspace

URL = "/api/3.0/mlflow/datasets"


class House:
    """A store with one experiment and the routes of evaluation datasets."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace.open(folder)
        self.workspace.store.experiments.create("one", at=1)
        self.client = Client(Starlette(routes=evaluation_datasets.routes(self.workspace)))

    def ask(self, method: str, path: str, **fields: Any) -> Answer:
        return self.client.send(method, f"{URL}/{path}", json.dumps(fields).encode(), content_type="application/json")

    def make(self, name: str = "set", **fields: Any) -> str:
        return str(self.ask("POST", "create", name=name, **fields).json["dataset"]["dataset_id"])

    def add(self, dataset: str, *records: Any) -> Any:
        return self.ask("POST", f"{dataset}/records", records=json.dumps(records)).json

    def records(self, dataset: str, query: str = "") -> list[Any]:
        return json.loads(self.ask("GET", f"{dataset}/records{query}").json["records"])

    def names(self, where: str = "", **fields: Any) -> list[str]:
        answer = self.ask("POST", "search", filter_string=where, **fields)
        assert answer.status == 200, answer.text
        return [item["name"] for item in answer.json.get("datasets", [])]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.workspace.store.close()


def test_the_same_inputs_are_one_record(house: House) -> None:
    dataset = house.make()
    first = {"inputs": {"b": 1, "a": "x"}, "expectations": {"e": 1}, "tags": {"mlflow.user": "ada"}}
    assert house.add(dataset, first, {"inputs": {"q": "two"}}) == {"inserted_count": 2, "updated_count": 0}
    again = {"inputs": {"a": "x", "b": 1}, "expectations": {"f": 2}, "outputs": {"o": 3}}
    assert house.add(dataset, again) == {"inserted_count": 0, "updated_count": 1}
    one, two = house.records(dataset)
    assert (one["expectations"], one["outputs"], one["created_by"]) == ({"e": 1, "f": 2}, {"o": 3}, "ada")
    assert two["inputs"] == {"q": "two"}
    info = house.ask("GET", dataset).json["dataset"]
    assert json.loads(info["profile"]) == {"num_records": 2}
    assert json.loads(info["schema"]) == {
        "inputs": {"b": "integer", "a": "string", "q": "string"},
        "outputs": {"o": "integer"},
        "expectations": {"e": "integer", "f": "integer"},
        "version": "1.0",
    }


def test_records_come_in_pages_in_the_order_they_came(house: House) -> None:
    dataset = house.make()
    house.add(dataset, *({"inputs": {"n": number}} for number in range(7)))
    seen: list[int] = []
    token = ""
    while True:
        page = house.ask("GET", f"{dataset}/records?max_results=3&page_token={token}").json
        seen += [record["inputs"]["n"] for record in json.loads(page["records"])]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == list(range(7))


def test_datasets_are_found_by_name_tag_and_experiment(house: House) -> None:
    house.make("alpha", tags=json.dumps({"odd": "1"}), experiment_ids=["1"])
    house.make("beta", tags=json.dumps({"odd": "0"}))
    assert house.names("name LIKE 'al%'") == ["alpha"]
    assert house.names("tags.odd = '0'") == ["beta"]
    assert house.names(experiment_ids=["1"]) == ["alpha"]
    assert house.names(order_by=["name DESC"]) == ["beta", "alpha"]
    for wrong in ({"filter_string": "foo = 'x'"}, {"order_by": ["foo"]}, {"max_results": 50_001}, {"page_token": "x"}):
        assert house.ask("POST", "search", **wrong).status == 400


def test_tags_and_experiments_come_and_go(house: House) -> None:
    dataset = house.make(tags=json.dumps({"a": "b"}))
    assert house.ask("PATCH", f"{dataset}/tags", tags=json.dumps({"k": 1, "gone": None})).status == 200
    assert house.ask("DELETE", f"{dataset}/tags/a").status == 200
    assert json.loads(house.ask("GET", dataset).json["dataset"]["tags"]) == {"k": "1"}
    assert house.ask("POST", f"{dataset}/add-experiments", experiment_ids=["1"]).json["dataset"]["experiment_ids"] == ["1"]
    assert house.ask("POST", f"{dataset}/add-experiments", experiment_ids=["77"]).status == 404
    assert house.ask("GET", f"{dataset}/experiment-ids").json == {"experiment_ids": ["1"]}
    house.ask("POST", f"{dataset}/remove-experiments", experiment_ids=["1"])
    assert house.ask("GET", f"{dataset}/experiment-ids").json == {}


def test_deleting_takes_the_records_along(house: House) -> None:
    dataset = house.make()
    house.add(dataset, {"inputs": {"n": 1}}, {"inputs": {"n": 2}})
    gone = house.records(dataset)[0]["dataset_record_id"]
    assert house.ask("DELETE", f"{dataset}/records", dataset_record_ids=[gone]).json == {"deleted_count": 1}
    assert [record["inputs"]["n"] for record in house.records(dataset)] == [2]
    assert house.ask("DELETE", dataset).status == 200
    assert house.ask("GET", dataset).status == 404
    assert house.workspace.store.documents.list(evaluation_datasets.RECORD) == []


@pytest.mark.parametrize("records", ["", "[", "{}", "[1]", '"x"', None, 7])
def test_what_are_no_records_is_refused(house: House, records: Any) -> None:
    dataset = house.make()
    assert house.ask("POST", f"{dataset}/records", records=records).status == 400


def test_nothing_is_lost_when_many_add_at_once(house: House) -> None:
    dataset = house.make()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: house.add(dataset, {"inputs": {"n": number % 10}}), range(30)))
    assert sorted(record["inputs"]["n"] for record in house.records(dataset)) == list(range(10))
    assert json.loads(house.ask("GET", dataset).json["dataset"]["profile"]) == {"num_records": 10}

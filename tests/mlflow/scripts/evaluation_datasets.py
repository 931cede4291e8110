"""Evaluation datasets of MLflow 3."""

import mlflow
from mlflow import MlflowClient
from mlflow.genai.datasets import (
    add_dataset_to_experiments,
    create_dataset,
    delete_dataset,
    delete_dataset_tag,
    get_dataset,
    remove_dataset_from_experiments,
    search_datasets,
    set_dataset_tags,
)
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
other = client.create_experiment(f"{NAME} other")
one = create_dataset(name=f"{NAME} one", experiment_id=[experiment], tags={"a": "b"})


def view(found):
    return [
        found.name,
        {k: v for k, v in found.tags.items() if k != "mlflow.user"},
        found.schema,
        found.profile,
        len(found.digest),
        found.experiment_ids == [experiment],
    ]


def records(found):
    frame = found.to_df()
    return sorted(
        [
            str(row.inputs),
            str(row.expectations),
            str({k: v for k, v in (row.tags or {}).items() if k != "mlflow.user"}),
            str(row.source_type),
        ]
        for row in frame.itertuples()
    )


see("made", view(one))
attempt(
    "add",
    lambda: view(
        one.merge_records(
            [
                {"inputs": {"q": "one"}, "expectations": {"e": 1}, "tags": {"x": "y"}},
                {"inputs": {"q": "two", "n": 1.5, "l": [1], "o": {"a": None}}},
            ]
        )
    ),
)
attempt("records", lambda: records(one))
attempt(
    "the same inputs",
    lambda: view(one.merge_records([{"inputs": {"q": "one"}, "expectations": {"f": True}, "tags": {"z": "w"}}])),
)
attempt("merged", lambda: records(one))
attempt("nothing", lambda: one.merge_records([]))
attempt("get", lambda: view(get_dataset(dataset_id=one.dataset_id)))
attempt("get none", lambda: get_dataset(dataset_id="d-none"))
for number in range(4):
    create_dataset(name=f"{NAME} many {number}", experiment_id=[other], tags={"odd": str(number % 2)})


def names(**options):
    return [item.name for item in search_datasets(experiment_ids=[other], **options)]


attempt("search", lambda: names(order_by=["name"]))
for clause in [
    f"name LIKE '{NAME} many%'",
    f"name = '{NAME} many 1'",
    "tags.odd = '1'",
    "created_time > 0",
    "name ILIKE '%MANY 2'",
    "foo = 'x'",
    "name > 'x'",
    "tags.odd = 1",
    "name = 'a' OR name = 'b'",
]:
    attempt(f"where {clause}", lambda clause=clause: names(filter_string=clause, order_by=["name"]))
for order in [["name DESC"], ["name ASC"], ["nothing"], ["tags.odd"]]:
    attempt(f"order {order}", lambda order=order: names(order_by=order))
attempt("some", lambda: len(names(max_results=2)))
attempt(
    "tag",
    lambda: [
        set_dataset_tags(dataset_id=one.dataset_id, tags={"k": "v", "n": 1, "gone": None}),
        view(get_dataset(dataset_id=one.dataset_id))[1],
    ],
)
attempt("tag none", lambda: set_dataset_tags(dataset_id="d-none", tags={"k": "v"}))
attempt(
    "untag", lambda: [delete_dataset_tag(dataset_id=one.dataset_id, key="k"), view(get_dataset(dataset_id=one.dataset_id))[1]]
)
attempt("untag again", lambda: delete_dataset_tag(dataset_id=one.dataset_id, key="k"))
attempt(
    "to another experiment",
    lambda: len(add_dataset_to_experiments(dataset_id=one.dataset_id, experiment_ids=[other]).experiment_ids),
)
attempt("and back", lambda: view(remove_dataset_from_experiments(dataset_id=one.dataset_id, experiment_ids=[other]))[5])
attempt("to none", lambda: add_dataset_to_experiments(dataset_id=one.dataset_id, experiment_ids=["987654321"]))
attempt("delete a record", lambda: one.delete_records([one.to_df().dataset_record_id.tolist()[0]]))
attempt("one is left", lambda: len(records(get_dataset(dataset_id=one.dataset_id))))
attempt("delete", lambda: delete_dataset(dataset_id=one.dataset_id))
attempt("delete again", lambda: delete_dataset(dataset_id=one.dataset_id))
attempt("it is gone", lambda: get_dataset(dataset_id=one.dataset_id))

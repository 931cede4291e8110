"""scikit-learn: autolog, log_model, load_model, predict."""

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.models import infer_signature
from observing import NAME, attempt, see
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
rng = np.random.default_rng(7)
rows = rng.normal(size=(60, 3))
labels = (rows[:, 0] > 0).astype(int)
MAJOR = int(mlflow.__version__.split(".")[0])


def files(run_id, path=None):
    found = []
    for item in client.list_artifacts(run_id, path):
        found += files(run_id, item.path) if item.is_dir else [item.path]
    return sorted(found)


mlflow.sklearn.autolog(log_datasets=True, silent=True)
with mlflow.start_run(run_name="auto") as run:
    model = LogisticRegression(C=0.5).fit(rows, labels)
    model.score(rows, labels)
data = client.get_run(run.info.run_id).data
see("params", {key: data.params[key] for key in ("C", "max_iter", "tol")})
see("metrics", {key: round(value, 6) for key, value in sorted(data.metrics.items())})
see("tags", {key: data.tags[key] for key in ("estimator_name", "estimator_class")})
see("files", files(run.info.run_id))
see(
    "inputs",
    [
        [item.dataset.source_type, item.dataset.schema is not None, [tag.value for tag in item.tags]]
        for item in client.get_run(run.info.run_id).inputs.dataset_inputs
    ],
)
attempt("load it", lambda: mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model").predict(rows[:5]))
with mlflow.start_run(run_name="grid") as grid:
    GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, cv=2).fit(rows, labels)
see(
    "children",
    sorted(
        item.data.params["max_depth"]
        for item in client.search_runs([experiment], f"tags.mlflow.parentRunId = '{grid.info.run_id}'")
    ),
)
see("best", client.get_run(grid.info.run_id).data.params["best_max_depth"])
mlflow.sklearn.autolog(disable=True)

with mlflow.start_run(run_name="by hand") as hand:
    mlflow.log_metric("before", 0.25, step=2)
    options = {"name": "clf"} if MAJOR > 2 else {"artifact_path": "clf"}
    info = (
        mlflow.sklearn.log_model(
            model,
            **options,
            signature=infer_signature(rows, labels),
            pip_requirements=["scikit-learn"],
            input_example=rows[:2],
            params={"p": 1} if MAJOR > 2 else None,
        )
        if MAJOR > 2
        else mlflow.sklearn.log_model(
            model, **options, signature=infer_signature(rows, labels), pip_requirements=["scikit-learn"], input_example=rows[:2]
        )
    )
see("model_uri", info.model_uri)
see("its flavors", sorted(info.flavors))
see("signature", [str(info.signature.inputs), str(info.signature.outputs)])
attempt("load by uri", lambda: mlflow.pyfunc.load_model(info.model_uri).predict(rows[:5]))
attempt("load by run", lambda: mlflow.pyfunc.load_model(f"runs:/{hand.info.run_id}/clf").predict(rows[:5]))
attempt("load natively", lambda: mlflow.sklearn.load_model(info.model_uri).coef_.shape)
attempt("get_model_info", lambda: sorted(mlflow.models.get_model_info(info.model_uri).flavors))
attempt("load none", lambda: mlflow.pyfunc.load_model(f"runs:/{hand.info.run_id}/none"))
attempt("load of no run", lambda: mlflow.pyfunc.load_model(f"runs:/{'0' * 32}/clf"))
see("tags of the run", sorted(client.get_run(hand.info.run_id).data.tags))


class Doubles(mlflow.pyfunc.PythonModel):
    """Any function as a model."""

    def predict(self, context, model_input, params=None):
        return model_input * 2


with mlflow.start_run(run_name="function"):
    options = {"name": "twice"} if MAJOR > 2 else {"artifact_path": "twice"}
    twice = mlflow.pyfunc.log_model(**options, python_model=Doubles(), pip_requirements=[])
attempt("a function as a model", lambda: mlflow.pyfunc.load_model(twice.model_uri).predict(np.array([1, 2])))
attempt("register it", lambda: mlflow.register_model(twice.model_uri, f"{NAME}-twice").version)
attempt("load the registered one", lambda: mlflow.pyfunc.load_model(f"models:/{NAME}-twice/1").predict(np.array([3])))
with mlflow.start_run(run_name="registered at once"):
    options = {"name": "m"} if MAJOR > 2 else {"artifact_path": "m"}
    mlflow.sklearn.log_model(
        model, **options, registered_model_name=f"{NAME}-clf", pip_requirements=["scikit-learn"], input_example=rows[:2]
    )
    mlflow.sklearn.log_model(
        model, **options, registered_model_name=f"{NAME}-clf", pip_requirements=["scikit-learn"], input_example=rows[:2]
    )
see("versions", [item.version for item in client.search_model_versions(f"name = '{NAME}-clf'")])
attempt("load the latest", lambda: mlflow.sklearn.load_model(f"models:/{NAME}-clf/latest").predict(rows[:5]))
client.set_registered_model_alias(f"{NAME}-clf", "best", 1)
attempt("load by alias", lambda: mlflow.sklearn.load_model(f"models:/{NAME}-clf@best").predict(rows[:5]))
attempt("load by an alias that is not there", lambda: mlflow.sklearn.load_model(f"models:/{NAME}-clf@none"))
attempt("load a version that is not there", lambda: mlflow.sklearn.load_model(f"models:/{NAME}-clf/99"))
attempt(
    "evaluate",
    lambda: (
        round(
            mlflow.evaluate(info.model_uri, rows, targets=labels, model_type="classifier", evaluators=[]).metrics.get("x", 0), 3
        )
        if MAJOR < 3
        else 0.0
    ),
)

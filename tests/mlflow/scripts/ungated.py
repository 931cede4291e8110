"""What a client sees of a server that lets nothing pass its gate: a champion without a receipt is refused."""

import mlflow
from mlflow import MlflowClient
from observing import NAME, attempt

client = MlflowClient()
mlflow.set_experiment(NAME)
with mlflow.start_run(run_name="source") as run:
    mlflow.log_text("flavors: {}", "model/MLmodel")
client.create_registered_model(NAME)
client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
attempt("any alias", lambda: client.set_registered_model_alias(NAME, "candidate", 1))
attempt("the champion", lambda: client.set_registered_model_alias(NAME, "champion", 1))
attempt("production", lambda: client.transition_model_version_stage(NAME, 1, "Production").current_stage)
attempt("nothing has moved", lambda: client.get_model_version_by_alias(NAME, "champion"))
attempt("the alias stands", lambda: client.get_model_version_by_alias(NAME, "candidate").version)

"""What the registry tells webhooks: the same events for models and for prompts, under MLflow's two names.

Source: the calls of ``deliver_webhook`` in ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

from typing import Any

from tidegate.server.mlflow.model_records import IS_PROMPT, Model, is_prompt
from tidegate.server.mlflow.webhooks import emit
from tidegate.workspace import Workspace

_INTERNAL = {IS_PROMPT, "_mlflow_prompt_type", "mlflow.prompt.text"}
_NOUNS = {
    "model": ("registered_model", "prompt"),
    "tag": ("", "prompt_tag"),
    "version": ("model_version", "prompt_version"),
    "version_tag": ("model_version_tag", "prompt_version_tag"),
    "alias": ("model_version_alias", "prompt_alias"),
}


def announce(workspace: Workspace, model: Model, what: str, action: str, **payload: Any) -> None:
    """Tells the webhooks what was done to a model. To be called after it is durable; nobody waits for them."""
    noun = _NOUNS[what][is_prompt(model.about.tags)]
    if noun:
        emit(workspace, f"{noun}.{action}", {"name": model.about.shown, **payload})


def announced_tags(model: Model, tags: dict[str, str]) -> dict[str, str]:
    """Tags without those that only say that a prompt is one."""
    return {key: value for key, value in tags.items() if key not in _INTERNAL} if is_prompt(model.about.tags) else tags

"""What MLflow takes as a name and how long things may be, with the sentences that its clients show.

Source: ``mlflow/utils/validation.py`` of MLflow 3.18.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from tidegate.server.mlflow.protocol import absent, invalid, shown

MAX_METRICS = 1000
MAX_PARAMS_OR_TAGS = 100
MAX_TOGETHER = 1000
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_KEY = 250
MAX_EXPERIMENT_NAME = 500
MAX_EXPERIMENT_TAG = 20_000
MAX_PAGE = 50_000
_NAME = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")


def check_key(name: str, path: str = "key", *, what: str = "") -> str:
    """A key of a metric, parameter or tag; ``what`` names it in the sentence about its length.

    Raises:
        MlflowError: it has other characters than MLflow takes, looks like another path, or is too long.
    """
    if not name:
        raise absent(path)
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Invalid value {shown(name)} for parameter '{path}' supplied: Names may only contain alphanumerics, underscores (_),"
            " dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        )
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        raise invalid(
            f"Invalid value {shown(name)} for parameter '{path}' supplied: Names may be treated as files in certain cases, and must"
            f" not resolve to other names when treated as such. This name would resolve to {normal!r}"
        )
    return check_length(what or path, name, MAX_KEY)


@lru_cache(maxsize=20_000)
def check_metric_key(name: str) -> str:
    """A metric's key; one that was accepted is remembered. See ``check_key``."""
    return check_key(name, "name", what="Metric name")


def check_length(what: str, text: str, most: int) -> str:
    """A text of at most ``most`` characters.

    Raises:
        MlflowError: it is longer.
    """
    if len(text) > most:
        raise invalid(f"'{what}' exceeds the maximum length of {most} characters")
    return text


def check_run_id(run_id: str) -> str:
    """The id of a run as MLflow writes it.

    Raises:
        MlflowError: it cannot be one.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise invalid(f"Invalid value {shown(run_id)} for parameter 'run_id' supplied.")
    return run_id


def check_counts(metrics: int, params: int, tags: int) -> None:
    """How much one batch may hold.

    Raises:
        MlflowError: it is more than that.
    """
    for what, count, most in (
        ("metrics", metrics, MAX_METRICS),
        ("params", params, MAX_PARAMS_OR_TAGS),
        ("tags", tags, MAX_PARAMS_OR_TAGS),
        ("metrics, params, and tags", metrics + params + tags, MAX_TOGETHER),
    ):
        if count > most:
            raise invalid(
                f"A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up {what} across"
                " multiple requests and try again."
            )


def params_of(items: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Parameters out of ``[{key, value}]``; values that are too long are cut, as MLflow's server does.

    Raises:
        MlflowError: a key is missing, wrong, or there twice; a value is no text.
    """
    found: dict[str, str] = {}
    twice: list[str] = []
    for index, item in enumerate(items):
        key, value = _pair(item, f"params[{index}]", "Param key")
        if key in found:
            twice.append(key)
        found[key] = value[:MAX_PARAM]
    if twice:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one param value per"
            " param key."
        )
    return found


def tags_of(items: Iterable[dict[str, Any]], *, any_name: bool = False) -> dict[str, str]:
    """Tags out of ``[{key, value}]``: the last of the same key wins, and values that are too long are cut.

    ``any_name`` takes keys of any characters, as MLflow's server does when it makes a run.

    Raises:
        MlflowError: a key is missing or wrong; a value is no text.
    """
    found: dict[str, str] = {}
    for index, item in enumerate(items):
        key, value = _pair(item, f"tags[{index}]", "", any_name=any_name)
        found[key] = value[:MAX_TAG]
    return found


def experiment_tags_of(items: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Tags of an experiment, of which none is cut.

    Raises:
        MlflowError: a key is missing or wrong; a value is no text, or too long.
    """
    pairs = [_pair(item, f"tags[{index}]", "") for index, item in enumerate(items)]
    return {key: check_length("value", value, MAX_EXPERIMENT_TAG) for key, value in pairs}


def _pair(item: dict[str, Any], path: str, what: str, *, any_name: bool = False) -> tuple[str, str]:
    key, value = item.get("key"), item.get("value")
    if key is None or key == "":
        raise absent(f"{path}.key")
    if not isinstance(key, str):
        raise invalid(f"Invalid value {shown(key)} for parameter '{path}.key' supplied.")
    if value is not None and not isinstance(value, str):
        raise invalid(f"Invalid value {shown(value)} for parameter '{path}.value' supplied.")
    checked = check_length(f"{path}.key", key, MAX_KEY) if any_name else check_key(key, f"{path}.key", what=what)
    return checked, value or ""

"""What experiments and MLflow's registry can be searched by, and in which order they answer.

Source: ``SearchExperimentsUtils``, ``SearchModelUtils`` and ``SearchModelVersionUtils`` in ``mlflow/utils/search_utils.py`` of MLflow 3.18. The language is the
store's, which knows more than MLflow's: OR, NOT and parentheses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tidegate.server.mlflow.model_records import IS_PROMPT
from tidegate.server.mlflow.protocol import Call, invalid
from tidegate.store.filter import Attribute, Combination, Comparison, Grammar, Tree, parse_filter, parse_order

T = TypeVar("T")

_SPACES = {"tags": "tags", "tag": "tags", "attribute": "attributes", "attributes": "attributes", "attr": "attributes"}
_TIMES = {
    "last_updated_timestamp": Attribute("updated_at", "number"),
    "timestamp": Attribute("updated_at", "number"),
}
EXPERIMENTS = Grammar(
    _SPACES,
    {
        "name": Attribute("name"),
        "experiment_id": Attribute("experiment_id"),
        "creation_time": Attribute("creation_time", "number"),
        "last_update_time": Attribute("last_update_time", "number"),
    },
)
MODELS = Grammar(_SPACES, {"name": Attribute("name"), **_TIMES})
VERSIONS = Grammar(
    _SPACES,
    {
        "name": Attribute("name"),
        "version_number": Attribute("version_number", "number"),
        "run_id": Attribute("run_id"),
        "source_path": Attribute("source_path"),
        "creation_timestamp": Attribute("created_at", "number"),
        **_TIMES,
    },
)
_FILTERED = {"name", "version_number", "run_id", "source_path"}


def tree_of(call: Call, grammar: Grammar) -> Tree | None:
    """The filter of a request.

    Raises:
        UsageError: it cannot be read.
        MlflowError: it asks for what only an order may name.
    """
    tree = parse_filter(call.text("filter", "filter_string", default=""), grammar)
    for comparison in comparisons(tree):
        if comparison.space == "attributes" and comparison.name not in _FILTERED:
            known = sorted(_FILTERED & set(grammar.attributes))
            raise invalid(f"Invalid attribute key '{comparison.name}' specified. Valid keys are '{known}'")
    return tree


def comparisons(tree: Tree | None) -> list[Comparison]:
    """Every comparison in a filter."""
    if tree is None:
        return []
    return [item for term in tree.terms for item in comparisons(term)] if isinstance(tree, Combination) else [tree]


def prompts_wanted(tree: Tree | None) -> bool:
    """Whether a filter asks for prompts; without it only models are found."""
    asked = [item for item in comparisons(tree) if item.space == "tags" and item.name == IS_PROMPT]
    return any((item.operator, str(item.value).lower()) in {("=", "true"), ("!=", "false")} for item in asked)


def lookup(attributes: Mapping[str, Any], tags: Mapping[str, str]) -> Callable[[str, str], Any]:
    """What a filter asks an experiment, a model or a version for."""
    return lambda space, name: tags.get(name) if space == "tags" else attributes.get(name)


def ordered(
    items: Sequence[T],
    call: Call,
    grammar: Grammar,
    value: Callable[[T, str], Any],
    *,
    default: Sequence[tuple[str, bool]],
    last: Sequence[tuple[str, bool]],
) -> list[T]:
    """Items in the order that a request asks for; ``default`` if it asks for none, ``last`` decides among equals.

    Both name attributes, each with whether it descends.

    Raises:
        UsageError: the order cannot be read.
        MlflowError: it names something else than an attribute.
    """
    sorts = parse_order(call.texts("order_by"), grammar)
    odd = next((item for item in sorts if item.space != "attributes"), None)
    if odd is not None:
        raise invalid(f"Invalid order_by entity: {odd.space}")
    clauses = [(item.name, item.descending) for item in sorts] or list(default)
    found = list(items)
    for name, descending in reversed([*clauses, *last]):
        found.sort(key=lambda item, name=name: value(item, name), reverse=descending)
    return found

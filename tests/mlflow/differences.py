"""Where Tidegate answers otherwise than MLflow on purpose: script, step, and why.

A difference that no longer occurs fails the test: it is to be struck from this list then.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """``clients`` are the versions of the client for which it occurs."""

    script: str
    step: str
    why: str
    clients: str = "23"


_RICHER = "our filters know more: OR, NOT, parentheses, RLIKE, IN, IS NULL and == everywhere, where MLflow refuses them"
_UNREADABLE = "MLflow ignores what it cannot read and answers as if it were not there; we refuse it, so that a mistake is seen"
_NO_500 = "MLflow breaks with 500, which clients repeat for minutes; we refuse the request with 400"
_TYPES = "a value of another JSON type is taken or refused by what it means: 1 is a parameter's text, 1.5 is no step, 7 is an id"
_WORKSPACE = "MLflow 3.18 sends the name of its workspace with an experiment; clients fill in the same name by themselves"
_OUTPUTS = "a new run is sent with the empty outputs that MLflow sends with every other run"
_JSON_404 = "what is no route is refused in MLflow's error shape, ENDPOINT_NOT_FOUND, so that clients try what they fall back to"
_TRAVERSAL = "backslashes, drives and doubled encodings are refused, where MLflow writes a file of that name"
_ACK = "MLflow 3.18 answers an upload with an empty page, 2.22 with an empty object, as we do"

DIFFERENCES: list[Difference] = [
    Difference(
        "experiments", "rename to a taken name", "the error code is the one of creating it: RESOURCE_ALREADY_EXISTS, also 400"
    ),
    Difference(
        "experiments", "rename it", "MLflow 2.22's client shows its server's 500 otherwise than the code that 3.18 sends", "2"
    ),
    *(Difference("experiments", f"search badly {clause}", _RICHER) for clause in ("name = 'a' OR name = 'b'", "name IN ('a')")),
    Difference("runs", "running", "a run that runs again has no end; MLflow keeps the old one until it ends again"),
    Difference(
        "search",
        "where attributes.artifact_uri != 'x'",
        "where artifacts lie is no attribute of a run here: it follows from its id",
    ),
    *(
        Difference("search", f"badly {clause}", _RICHER)
        for clause in (
            "metrics.loss IS NULL",
            "params.depth IN ('3')",
            "metrics.loss < 0.3 OR metrics.acc > 3",
            "(metrics.loss < 0.3)",
            "NOT metrics.loss < 0.3",
            "lifecycle_stage = 'active'",
            "tags.odd == '1'",
            "tags.odd <> '1'",
            "tags.odd RLIKE '1'",
        )
    ),
    *(
        Difference("search", f"badly {clause}", _UNREADABLE)
        for clause in ("metrics.loss < 0.3 metrics.acc > 3", "metrics.loss < 0.3 AND", "AND metrics.loss < 0.3", "metrics. < 1")
    ),
    Difference("search", "badly run_id IN ('a' 'b')", _UNREADABLE, "3"),
    Difference("search", "order badly ['metrics.loss', 'metrics.loss']", _NO_500),
    Difference("search", "order badly ['']", "an order of nothing is no order"),
    Difference("artifacts", "list a folder", "an empty file has the size 0; MLflow sends none"),
    Difference("artifacts", "a folder where a file is", _NO_500),
    Difference("registry", "where it is", "a version is a package of its own: later changes of the run's files do not reach it"),
    Difference("registry", "delete the version of the champion", "what serves cannot be deleted: move the champion first"),
    Difference("registry", "badly name = 'a' OR name = 'b'", _RICHER),
    Difference("registry", "versions badly run_id = 'x' OR name = 'y'", _RICHER),
    *(
        Difference("raw", step, _WORKSPACE, "3")
        for step in ("get it", "get by name", "the other prefix", "experiments by POST", "experiments by GET")
    ),
    Difference("raw", "create a run", _OUTPUTS),
    *(Difference("raw", step, _TYPES) for step in ("a metric at a fraction", "a parameter as number")),
    Difference("raw", "an experiment of a number", _TYPES, "3"),
    *(Difference("raw", step, _NO_500) for step in ("a batch with texts for metrics", "a number")),
    *(Difference("raw", step, _UNREADABLE) for step in ("update to a word", "a wrong view")),
    Difference("raw", "no JSON", "an empty body is an empty object: the run goes to the default experiment"),
    Difference("raw", "experiments without a limit", "the limit of a page has the same default by POST as clients send"),
    *(
        Difference("raw", step, _JSON_404)
        for step in (
            "an unknown route",
            "an unknown route of version 3",
            "a wrong method",
            "GET where POST is",
            "search models by POST",
        )
    ),
    *(Difference("raw", step, _ACK, "3") for step in ("put a file", "put a model")),
    *(Difference("raw", f"climb {number} by {method}", _TRAVERSAL) for number in (3, 5, 6) for method in ("GET", "PUT")),
    Difference("raw", "climb 4 by PUT", "a doubled slash is one: the file lies below its run, where MLflow breaks with 500"),
    Difference("raw", "version", "the version is plain text, not a page that holds it"),
    Difference("raw", "server-info", "features of MLflow's own pages are not named", "3"),
    Difference("raw", "spans of another kind", "a body that any web page could send is refused before it is looked at", "3"),
    *(Difference("logged_models", f"badly {clause}", _NO_500, "3") for clause in ("foo = 'x'", "metrics.acc > 'x'")),
    Difference("logged_models", "badly name = 'a' OR name = 'b'", _RICHER, "3"),
    Difference(
        "logged_models", "badly params.depth = 4", "a parameter is text and is compared with quoted text, as in runs", "3"
    ),
    *(
        Difference("traces", f"badly {clause}", _UNREADABLE, "3")
        for clause in ("timestamp_ms = 'x'", "status = 'OK' status = 'OK'")
    ),
    Difference("traces", "a tag of none", "a trace that is not there is RESOURCE_DOES_NOT_EXIST here too, not BAD_REQUEST", "3"),
    Difference("evaluation_datasets", "where name > 'x'", _UNREADABLE, "3"),
    Difference("evaluation_datasets", "where name = 'a' OR name = 'b'", _RICHER, "3"),
]


def declared(client: str, script: str) -> dict[str, str]:
    """The steps of a script that differ for this client, and why."""
    return {one.step: one.why for one in DIFFERENCES if one.script == script and client in one.clients}

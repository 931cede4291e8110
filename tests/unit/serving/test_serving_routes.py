from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.serving.routes import INVOCATIONS, KSERVE, OIP, VERTEX, Asked, route


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v2/models/a/infer", Asked("infer", "a", "", OIP)),
        ("POST", "/v2/models/a/versions/7/infer", Asked("infer", "a", "7", OIP)),
        ("GET", "/v2/models/a", Asked("metadata", "a")),
        ("GET", "/v2/models/a/versions/7", Asked("metadata", "a", "7")),
        ("GET", "/v2/models/a/ready", Asked("model ready", "a")),
        ("GET", "/v2/models/a/versions/7/ready", Asked("model ready", "a", "7")),
        ("GET", "/v2/models/a/rollout", Asked("rollout", "a")),
        ("GET", "/v2", Asked("server")),
        ("GET", "/v2/health/live", Asked("live")),
        ("GET", "/v2/health/ready", Asked("ready")),
        ("POST", "/v2/repository/index", Asked("index")),
        ("POST", "/v2/repository/models/a/load", Asked("load", "a")),
        ("POST", "/v2/repository/models/a/unload", Asked("unload", "a")),
        ("GET", "/v1/models", Asked("models v1", protocol=KSERVE)),
        ("GET", "/v1/models/a", Asked("model v1", "a", "", KSERVE)),
        ("POST", "/v1/models/a:predict", Asked("infer", "a", "", KSERVE)),
        ("POST", "/v1/models/a/versions/7:predict", Asked("infer", "a", "7", KSERVE)),
        ("POST", "/invocations", Asked("infer", protocol=INVOCATIONS)),
        ("GET", "/ping", Asked("ping")),
        ("GET", "/version", Asked("version")),
        ("GET", "/health", Asked("health")),
        ("GET", "/metrics", Asked("metrics")),
    ],
)
def test_a_path_asks_this_with_and_without_a_slash(method, path, asked):
    assert route(method, path, {}) == asked
    assert route(method, path + "/", {}) == asked
    with pytest.raises(UsageError, match="wrong-method"):
        route("GET" if method == "POST" else "POST", path, {})


def test_the_surroundings_can_name_paths():
    named = {"/v1/endpoints/1/deployedModels/2:predict": Asked("infer", protocol=VERTEX), "/ready": Asked("ping")}
    assert route("POST", "/v1/endpoints/1/deployedModels/2:predict", named).protocol is VERTEX
    assert route("GET", "/ready", named).what == "ping"
    with pytest.raises(NotFoundError):
        route("GET", "/ready", {})


@given(
    st.lists(
        st.sampled_from(["v1", "v2", "models", "a", "a:predict", "versions", "1", "infer", "ready", "", "health"]), max_size=7
    )
)
def test_any_path_is_one_or_none(parts):
    try:
        outcome = route("POST", "/".join(["", *parts]), {}).what
    except TidegateError as error:
        outcome = error.code
    assert outcome in {"infer", "index", "load", "unload", "no-such-path", "wrong-method"}

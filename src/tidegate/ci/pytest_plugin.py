"""The gate as a test. Loaded by every run of pytest where Tidegate is installed, so it loads nothing until a test asks.

    @pytest.mark.gate("delay@12")                                 # a version of this project's model
    @pytest.mark.gate("predictions.parquet", policy="gate.toml")  # or columns of a file
    def test_it_may_ship(gate_report):
        assert gate_report.rows > 1000

The gate runs before the test's body, and whatever is no PASS fails the test with the report as its message. The fixture ``gate`` is the
same as a function. A candidate is judged once in a session, however many tests ask about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from tidegate.records.report import Report


class _Found(NamedTuple):
    report: Report
    failure: str
    """What a test fails with; empty for a PASS."""


_JUDGED = pytest.StashKey[dict[tuple[str, str], "_Found | str"]]()
_Misuse = pytest.UsageError
_HELP = "gate(candidate, policy=None): the gate's verdict on MODEL@VERSION, or on a file of predictions by a policy file, is PASS"


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", _HELP)


def pytest_runtest_call(item: pytest.Item) -> None:
    """A marked test runs the gate before its body."""
    marker = item.get_closest_marker("gate")
    if marker:
        _passed(item.config, *_named(item, marker))


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """``gate("delay@12")`` or ``gate("predictions.parquet", policy="gate.toml")``: the report of a PASS; fails the test otherwise.

    Paths are relative to pytest's root folder, which is also the project's.
    """

    def passed(candidate: str | Path, *, policy: str | Path = "") -> Report:
        return _passed(request.config, str(candidate), str(policy))

    return passed


@pytest.fixture
def gate_report(request: pytest.FixtureRequest) -> Report | None:
    """The report about the candidate that the test's marker names. The body sees it only if it is a PASS."""
    marker = request.node.get_closest_marker("gate")
    if marker is None:
        raise _Misuse(f'{request.node.nodeid} takes gate_report without a marker: add @pytest.mark.gate("delay@12")')
    found = _judged(request.config, *_named(request.node, marker))
    return None if isinstance(found, str) else found.report


def _named(item: Any, marker: pytest.Mark) -> tuple[str, str]:
    def read(candidate: str | Path, *, policy: str | Path = "") -> tuple[str, str]:
        return str(candidate), str(policy)

    try:
        candidate, policy = read(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise _Misuse(f"the marker gate of {item.nodeid} is wrong: {error}; {_HELP}") from None
    if not candidate:
        raise _Misuse(f"the marker gate of {item.nodeid} names no candidate; {_HELP}")
    return candidate, policy


def _passed(config: pytest.Config, candidate: str, policy: str) -> Report:
    found = _judged(config, candidate, policy)
    if isinstance(found, str) or found.failure:
        pytest.fail(found if isinstance(found, str) else found.failure, pytrace=False)
    return found.report


def _judged(config: pytest.Config, candidate: str, policy: str) -> _Found | str:
    judged = config.stash.setdefault(_JUDGED, {})
    if (candidate, policy) not in judged:
        judged[candidate, policy] = _judge(config.rootpath, candidate, policy)
    return judged[candidate, policy]


def _judge(folder: Path, candidate: str, policy: str) -> _Found | str:
    """The report, or the error that there is none."""
    errors, gate = importlib.import_module("tidegate.errors"), importlib.import_module("tidegate.gate")
    try:
        if policy:
            report = gate.check(folder / candidate, folder / policy)
        else:
            report = importlib.import_module("tidegate.workspace").Workspace.open(folder).judge(candidate).report
    except errors.TidegateError as error:
        return f"the gate could not judge {candidate}\n{error}"
    if report.verdict == "PASS":
        return _Found(report, "")
    answer = {
        "INCONCLUSIVE": f"the gate cannot tell yet whether {candidate} is good enough: that is no PASS",
        "INVALID": f"the gate cannot use the evidence about {candidate}",
    }.get(report.verdict, f"the gate refuses {candidate}")
    return _Found(report, f"{answer}\n\n{gate.render_text(report)}")

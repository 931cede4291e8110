"""The marker and the fixtures, in runs of pytest of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

POLICY = 'task = "binary"\nlabel = "y"\ncandidate = "new"\nchampion = "old"\n[[rules]]\nmetric = "accuracy"\ntest = "superior"\n'
TESTS = """
import pytest

@pytest.mark.gate("{file}", policy="gate.toml")
def test_marked():
    pass

@pytest.mark.gate("{file}", policy="gate.toml")
def test_report(gate_report):
    assert gate_report.verdict == "PASS"
    assert gate_report.rows == 400

def test_function(gate):
    assert gate("{file}", policy="gate.toml").rows == 400
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with predictions of each verdict."""
    pytester.path.joinpath("gate.toml").write_text(POLICY)
    for name, good, n in (("good", "new", 400), ("bad", "old", 400), ("few", "new", 20)):
        lines = ["y,new,old"]
        for row in range(n):
            y = row % 2
            best, poor = y ^ (row % 10 == 0), y ^ (row % 5 < 2)
            lines.append(f"{y},{best if good == 'new' else poor},{best if good == 'old' else poor}")
        pytester.path.joinpath(f"{name}.csv").write_text("\n".join(lines) + "\n")
    return pytester


def _run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", "--strict-markers", "-W", "error", *words)


def _expect_lines(found: pytest.RunResult, lines: list[str]) -> None:
    found.stdout.fnmatch_lines(lines)


def test_a_pass_passes(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS.format(file="good.csv"))
    _run(project).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("file", "answer", "verdict"),
    [
        ("bad.csv", "the gate refuses bad.csv", "FAIL"),
        ("few.csv", "the gate cannot tell yet whether few.csv is good enough: that is no PASS", "INCONCLUSIVE"),
        ("gone.csv", "the gate cannot use the evidence about gone.csv", "INVALID"),
    ],
)
def test_anything_else_fails_with_the_report(project: pytest.Pytester, file: str, answer: str, verdict: str) -> None:
    project.makepyfile(TESTS.format(file=file))
    found = _run(project)
    found.assert_outcomes(failed=3)
    _expect_lines(found, [f"*{answer}*", f"*{verdict}*"])
    assert "pytest_plugin.py" not in found.stdout.str()  # no traceback of ours


def test_a_version_of_a_project_is_asked_for_by_name(project: pytest.Pytester) -> None:
    project.path.joinpath("tidegate.toml").write_text("")
    project.makepyfile('import pytest\n\n@pytest.mark.gate("delay@12")\ndef test_it():\n    pass\n')
    _expect_lines(_run(project), ["*the gate could not judge delay@12*", "*fix: *"])


def test_a_candidate_is_judged_once(project: pytest.Pytester) -> None:
    project.makepyfile(
        TESTS.format(file="good.csv")
        + "\ndef test_gone(gate):\n    import os\n    os.remove('good.csv')\n    gate('good.csv', policy='gate.toml')\n"
    )
    _run(project).assert_outcomes(passed=4)


@pytest.mark.parametrize("marker", ["gate()", 'gate("a", "b")', 'gate("a", police="b")', 'gate("")'])
def test_a_marker_that_cannot_be_meant_is_an_error(project: pytest.Pytester, marker: str) -> None:
    project.makepyfile(f"import pytest\n\n@pytest.mark.{marker}\ndef test_it():\n    pass\n")
    found = _run(project)
    assert found.ret != 0
    assert found.parseoutcomes().get("passed", 0) == 0


def test_the_report_without_a_marker_is_an_error(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(gate_report):\n    pass\n")
    _expect_lines(_run(project), ["*takes gate_report without a marker*"])


def test_it_stands_in_the_lists_of_markers_and_fixtures(project: pytest.Pytester) -> None:
    _expect_lines(_run(project, "--markers"), ["@pytest.mark.gate(candidate, policy=None): *"])
    _expect_lines(_run(project, "--fixtures"), ["gate_report*", "*about the candidate that the test's marker names*"])


def test_who_does_not_use_it_does_not_pay() -> None:
    """Counted, not timed: what the plugin loads beyond pytest itself."""
    program = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport tidegate.ci.pytest_plugin\n"
        "print(*sorted({name for name in sys.modules} - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if not name.startswith("tidegate")] == []
    assert set(loaded) == {"tidegate", "tidegate.ci", "tidegate.ci.pytest_plugin", "tidegate.lazy"}

"""What each CI system says about a job, from the variables that it documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.ci import Surroundings, read_surroundings


def test_nothing_is_known_outside_of_a_job() -> None:
    assert read_surroundings({"GITHUB_TOKEN": "t", "PATH": "/bin"}) == Surroundings()
    assert read_surroundings() == Surroundings()


def test_github(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 3, "head": {"sha": "a" * 40}}}))
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "shop/delay", "GITHUB_SHA": "m" * 40,
        "GITHUB_BASE_REF": "main", "GITHUB_RUN_ID": "9", "GITHUB_TOKEN": "secret", "GITHUB_STEP_SUMMARY": "/tmp/s.md",
        "GITHUB_API_URL": "https://git.example.org/api/v3", "GITHUB_SERVER_URL": "https://git.example.org",
    }  # fmt: skip
    found = read_surroundings(variables)
    assert (found.api, found.project, found.change, found.head) == ("https://git.example.org/api/v3", "shop/delay", 3, "a" * 40)
    assert (found.base, found.summary) == ("origin/main", "/tmp/s.md")
    assert found.link == "https://git.example.org/shop/delay/actions/runs/9"
    assert "secret" not in repr(found)
    for odd in ("not json", "[]", "{}"):
        event.write_text(odd)
        assert read_surroundings(variables).change == 0
        assert read_surroundings(variables).head == "m" * 40


def test_gitlab() -> None:
    found = read_surroundings(
        {
            "GITLAB_CI": "true", "CI_API_V4_URL": "https://gitlab.example.org/api/v4", "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "3",
            "CI_COMMIT_SHA": "m" * 40, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "a" * 40, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "b" * 40,
            "CI_PIPELINE_ID": "88", "GITLAB_TOKEN": "secret", "CI_JOB_TOKEN": "job",
        }
    )  # fmt: skip
    assert (found.project, found.change, found.head, found.base, found.pipeline) == ("7", 3, "a" * 40, "b" * 40, "88")
    assert found.token == "secret"


@pytest.mark.parametrize(
    ("address", "forge", "api", "project"),
    [
        ("https://github.com/shop/delay/pull/3", "github", "https://api.github.com", "shop/delay"),
        ("https://git.example.org/shop/delay/pull/3", "github", "https://git.example.org/api/v3", "shop/delay"),
        ("https://gitlab.com/a/b/delay/-/merge_requests/3", "gitlab", "https://gitlab.com/api/v4", "a%2Fb%2Fdelay"),
    ],
)
def test_jenkins_and_circleci_go_by_the_address_of_the_change(address: str, forge: str, api: str, project: str) -> None:
    tokens = {"GITHUB_TOKEN": "gh", "GITLAB_TOKEN": "gl"}
    jenkins = {"JENKINS_URL": "https://j/", "CHANGE_URL": address, "CHANGE_TARGET": "main", "GIT_COMMIT": "a" * 40}
    circle = {"CIRCLECI": "true", "CIRCLE_PULL_REQUEST": address, "CIRCLE_SHA1": "a" * 40}
    for system, variables in (("jenkins", jenkins), ("circleci", circle)):
        found = read_surroundings(variables | tokens)
        assert (found.system, found.forge, found.api, found.project, found.change) == (system, forge, api, project, 3)
        assert (found.head, found.token) == ("a" * 40, {"github": "gh", "gitlab": "gl"}[forge])


@pytest.mark.parametrize("address", ["", "no address", "https://bitbucket.org/a/b/pull-requests/3", "https://github.com/a/b"])
def test_an_address_that_nobody_knows_is_no_change(address: str) -> None:
    found = read_surroundings({"CIRCLECI": "true", "CIRCLE_PULL_REQUEST": address, "GITHUB_TOKEN": "gh"})
    assert (found.system, found.change, found.token) == ("circleci", 0, "")


@pytest.mark.parametrize(
    "event",
    [{"pull_request": [1]}, {"pull_request": {"number": "abc", "head": "x"}}, {"pull_request": {"number": 1e300, "head": [1]}}],
)
def test_an_event_of_another_shape_is_no_change(tmp_path: Path, event: object) -> None:
    (tmp_path / "event.json").write_text(json.dumps(event))
    found = read_surroundings({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json"), "GITHUB_SHA": "m"})
    assert (found.change, found.head) == (0, "m")


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "-1", "9" * 5000])
def test_what_is_no_number_is_no_change(number: str) -> None:
    variables = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_IID": number, "CI_PIPELINE_ID": number}
    assert (read_surroundings(variables).change, read_surroundings(variables).pipeline) == (0, "")
    for address in (f"https://github.com/shop/delay/pull/{number}", "https://[::1/shop/delay/pull/3"):
        assert read_surroundings({"JENKINS_URL": "https://j/", "CHANGE_URL": address}).change == 0

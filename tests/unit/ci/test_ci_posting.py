"""One comment and one status, whatever the forge does; and hostile values stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from forge_server import Fault, ForgeServer
from markdown_it import MarkdownIt

from tidegate.ci import Surroundings, post_report
from tidegate.ci.gating import not_judged
from tidegate.errors import NotFoundError
from tidegate.gate import check
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict

BOTH = pytest.mark.parametrize(("kind", "token", "bot"), [("github", "job-token", "github-actions[bot]"), ("github", "pat", "ana"), ("gitlab", "project-token", "project_7_bot")])  # fmt: skip
MARK = "<!-- tidegate-gate: delay -->"


def _report(verdict: str = "PASS", **changes: Any) -> Report:
    report = check({"y": [0, 1] * 200, "delay": [0, 1] * 200}, {"task": "binary", "label": "y", "candidate": "delay", "rules": [{"metric": "accuracy", "test": "floor", "value": 0.9}]})  # fmt: skip
    assert report.verdict is Verdict.PASS
    return msgspec.structs.replace(report, candidate="delay@12", verdict=Verdict(verdict), **changes)


@BOTH
def test_one_comment_is_written_anew(forge: ForgeServer, kind: str, token: str, bot: str) -> None:
    place = forge.place(kind, token)
    assert post_report(_report("FAIL"), place) == ("created", "failure", [])
    assert post_report(_report("PASS"), place) == ("edited", "success", [])
    (comment,) = forge.comments
    assert comment["author"] == bot
    assert comment["body"].startswith(MARK)
    assert "PASS" in comment["body"]
    assert "https://ci.example.org/jobs/9" in comment["body"]
    states = [status["state"] for status in forge.statuses]
    assert states == [{"github": "failure", "gitlab": "failed"}[kind], "success"]
    assert {status.get("context", status.get("name")) for status in forge.statuses} == {"tidegate/delay"}
    if kind == "gitlab":
        assert forge.statuses[0]["pipeline_id"] == 88


@BOTH
def test_its_own_comment_is_found_on_a_late_page_and_nobody_elses_is_touched(
    forge: ForgeServer, kind: str, token: str, bot: str
) -> None:
    forge.page = 10
    for number in range(25):
        forge.add("mallory", f"{MARK}\nPASS, merge it! {number}")
    own = forge.add(bot, f"{MARK}\nolder")
    other = forge.add(bot, "<!-- tidegate-gate: prices -->\nof another model")
    forge.add(bot, f"an answer that quotes {MARK}")
    before = [dict(item) for item in forge.comments]
    assert post_report(_report(), forge.place(kind, token)).comment == "edited"
    changed = [item["id"] for item, old in zip(forge.comments, before, strict=True) if item != old]
    assert changed == [own]
    assert other not in changed


def test_two_models_have_two_comments(forge: ForgeServer) -> None:
    for _ in range(2):
        for candidate in ("delay@12", "prices@3"):
            post_report(msgspec.structs.replace(_report(), candidate=candidate), forge.place())
    assert [item["body"].splitlines()[0] for item in forge.comments] == [MARK, "<!-- tidegate-gate: prices -->"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Surroundings(), "no CI job"),
        (Surroundings(system="github", forge="github", token="t"), "no pull request"),
        (Surroundings(system="github", forge="github", change=3), "GITHUB_TOKEN is not set"),
        (Surroundings(system="gitlab", forge="gitlab", change=3), "CI_JOB_TOKEN cannot write notes"),
    ],
)
def test_without_a_change_or_a_token_it_says_so(place: Surroundings, words: str) -> None:
    comment, status, why = post_report(_report(), place)
    assert (comment, status) == ("", "")
    assert words in why[0]


def test_a_token_that_may_not_write_is_told_and_raises_nothing(forge: ForgeServer) -> None:
    """What a pull request of a fork meets: its token may read, not write."""
    for _ in range(2):
        forge.faults.append(Fault("POST", "/comments", 403, message="Resource not accessible by integration"))
        forge.faults.append(Fault("POST", "/statuses/", 403, message="Resource not accessible by integration"))
    comment, status, why = post_report(_report(), forge.place())
    assert (comment, status, len(why)) == ("", "", 2)
    assert "Resource not accessible" in why[0]
    assert "pull-requests: write" in why[0]
    assert forge.asked.count("POST /repos/shop/delay/issues/3/comments") == 1  # a refusal is not asked again


def test_a_wrong_token_and_a_missing_project_are_told(forge: ForgeServer) -> None:
    assert "401" in post_report(_report(), forge.place(token="stolen")).why[0]
    assert "404" in post_report(_report(), forge.place(project="shop/other")).why[0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/comments", 429, {"Retry-After": "7"}),
        Fault("POST", "/comments", 403, {"Retry-After": "7"}, "You have exceeded a secondary rate limit"),
        Fault("GET", "/comments", 403, {"X-RateLimit-Remaining": "0", "Retry-After": "7"}, "API rate limit exceeded"),
    ],
)
def test_a_rate_limit_is_waited_for(forge: ForgeServer, fault: Fault) -> None:
    waits: list[float] = []
    forge.faults.append(fault)
    assert post_report(_report(), forge.place(), wait=waits.append) == ("created", "success", [])
    assert waits == [7.0]
    assert len(forge.comments) == 1


def test_a_limit_of_an_hour_is_not_waited_for(forge: ForgeServer) -> None:
    waits: list[float] = []
    forge.faults.append(Fault("POST", "/comments", 403, {"Retry-After": "3600"}, "API rate limit exceeded"))
    found = post_report(_report(), forge.place(), wait=waits.append)
    assert (found.comment, found.status, waits) == ("", "success", [])


def test_a_forge_that_stumbles_is_asked_again_but_never_made_to_say_it_twice(forge: ForgeServer) -> None:
    waits: list[float] = []
    forge.faults += [Fault("GET", "/comments", 502), Fault("GET", "/comments", 503)]
    assert post_report(_report(), forge.place(), wait=waits.append).comment == "created"
    assert waits == [1.0, 2.0]
    forge.comments.clear()
    forge.faults.append(Fault("POST", "/comments", 502))  # it may have been written
    assert post_report(_report(), forge.place(), wait=waits.append).comment == ""


def test_a_forge_that_is_away_is_told(forge: ForgeServer) -> None:
    place = forge.place(api="http://127.0.0.1:9")
    found = post_report(_report(), place, wait=lambda _: None)
    assert (found.comment, found.status) == ("", "")
    assert "cannot be reached" in found.why[0]


def test_a_comment_that_was_just_removed_is_made_again(forge: ForgeServer) -> None:
    forge.add("github-actions[bot]", f"{MARK}\nold")
    forge.faults.append(Fault("PATCH", "/comments/", 404, message="Not Found"))
    assert post_report(_report(), forge.place()).comment == "created"
    assert len(forge.comments) == 2


def test_what_the_forge_finds_too_long_is_said_shortly(forge: ForgeServer) -> None:
    forge.faults.append(Fault("POST", "/comments", 422, message="Validation Failed"))
    assert post_report(_report("FAIL"), forge.place()).comment == "created"
    (comment,) = forge.comments
    assert comment["body"].startswith(f"{MARK}\n## FAIL")
    assert len(comment["body"]) < 400


def test_the_status_fits_and_inconclusive_is_red_unless_it_is_allowed(forge: ForgeServer) -> None:
    report = _report("INCONCLUSIVE", sentence="x" * 5000)
    assert post_report(report, forge.place()).status == "failure"
    assert post_report(report, forge.place(), allow_inconclusive=True).status == "success"
    assert post_report(_report("FAIL"), forge.place(), allow_inconclusive=True).status == "failure"
    assert forge.statuses[1]["description"].startswith("INCONCLUSIVE: ")


def test_a_gate_that_could_not_run_replaces_an_older_answer(forge: ForgeServer) -> None:
    post_report(_report(), forge.place())
    report = not_judged("delay", NotFoundError("no-candidate-of-commit", "no version of delay was registered", fix="train"))
    assert post_report(report, forge.place()) == ("edited", "failure", [])
    assert "could not run" in forge.comments[0]["body"]
    assert "PASS" not in forge.comments[0]["body"]


HOSTILE = [
    "@everyone", "@org/team", "#1", "closes #12", "GH-3", "/merge", "/close", "<img src=x onerror=alert(1)>", "<!-- tidegate-gate: delay -->",
    "![x](https://evil.example/a.png)", "[click](javascript:alert(1))", "a|b", "```", "`", "\n/approve", "\r\n\n## PASS", "<details>", "https://evil.example",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "token"), [("github", "job-token"), ("gitlab", "project-token")])
def test_hostile_values_stay_text(forge: ForgeServer, kind: str, token: str) -> None:
    rows = {
        "y": [0, 1] * 400,
        "delay": [0, 1, 1, 0] * 200,
        "old": [0, 1] * 400,
        "s": [HOSTILE[i % len(HOSTILE)] for i in range(800)],
    }
    rules = [{"metric": "accuracy", "test": "not_worse", "margin": 0.01, "slices": ["s"]}]
    report = check(rows, {"task": "binary", "label": "y", "candidate": "delay", "champion": "old", "key": "", "rules": rules})
    assert report.verdict is Verdict.FAIL
    post_report(msgspec.structs.replace(report, title="\n/merge @everyone <b>"), forge.place(kind, token))
    (comment,) = forge.comments
    lines = comment["body"].splitlines()
    assert [line for line in lines if line.startswith("<!--")] == [MARK]
    assert [line for line in lines if line.lstrip("> ").startswith(("/", "## PASS"))] == []
    for live in ("@everyone", "@org", "#12", "<img", "https://evil", "onerror=alert(1)>"):
        assert live not in comment["body"], live
    tokens = MarkdownIt("commonmark").enable("table").parse(comment["body"])
    inner = [part for token in tokens for part in (token.children or [])]
    assert [part.attrs["href"] for part in inner if part.type == "link_open"] == ["https://ci.example.org/jobs/9"]
    assert [part for part in inner if part.type == "image"] == []
    tags = {tag for part in [*tokens, *inner] if part.type.startswith("html") for tag in re.findall(r"</?(\w+)", part.content)}
    assert tags <= {"details", "summary", "sub", "b", "br", "code"}
    assert len([token for token in tokens if token.type == "html_block" and token.content.startswith("<!--")]) == 1


def test_a_token_with_a_line_break_is_refused_and_not_shown(forge: ForgeServer) -> None:
    comment, status, why = post_report(_report(), forge.place(token="secret\nX-More: 1"))
    assert (comment, status) == ("", "")
    assert "line break" in why[0]
    assert "secret" not in why[0]


def test_an_address_that_is_none_is_told() -> None:
    place = Surroundings(system="gitlab", forge="gitlab", api="https://[::1", project="7", change=3, token="t")
    assert "no https address" in post_report(_report(), place).why[0]


def test_the_address_of_a_job_stays_the_target_of_one_link(forge: ForgeServer) -> None:
    place = replace(forge.place(), link="https://ci.example.org/1)\n/merge\n[x](https://evil.example")
    post_report(_report(), place)
    (comment,) = forge.comments
    assert "\n/merge" not in comment["body"]
    assert "](https://evil" not in comment["body"]

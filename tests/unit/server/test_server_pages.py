"""Every page of a real project, as a reader and as an attacker sees it."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from server_client import Client
from server_project import HOSTILE

from tidegate.gate import page_policy, read_report, render_html
from tidegate.server import create_app
from tidegate.server.pages import charts
from tidegate.workspace import Workspace

HOSTILE_IDS = [
    "..",
    "%2e%2e",
    "%00",
    "a%2fb",
    "<script>",
    "x" * 300,
    "-1",
    "0",
    "1e9",
    "99999999999999999999",
    "%ff",
    "a;b",
    "delay@2",
    "🜨",
]


class Elements(HTMLParser):
    """The elements of a page with their attributes, and what stands in its JSON scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.json: list[str] = []
        self._in_json = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_json = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._in_json = False

    def handle_data(self, data: str) -> None:
        if self._in_json:
            self.json.append(data)

    @property
    def links(self) -> set[str]:
        return {str(given[name]).split("#")[0] for _, given in self.found for name in ("href", "src") if given.get(name)}


def crawl(client) -> dict[str, object]:
    """Every address that can be reached from the overview, with what it answers."""
    seen: dict[str, object] = {}
    ahead = ["/", "/search?q=delay", "/search?q=delay@2"]
    while ahead:
        path = ahead.pop()
        if path in seen or not path:
            continue
        answer = seen[path] = client.get(path)
        if answer.headers.get("content-type", "").startswith("text/html"):
            ahead += [link for link in Elements(answer.text).links if link.startswith("/")]
    return seen


@pytest.fixture(scope="module")
def pages(client):
    return crawl(client)


def test_every_link_of_every_page_leads_somewhere(pages) -> None:
    broken = {path: answer.status for path, answer in pages.items() if answer.status not in {200, 303}}
    assert broken == {}
    assert len(pages) > 40
    for part in (
        "/models/delay/versions/2",
        "/monitoring/delay",
        "/decisions/delay-0001",
        "/data/flights-eval/1",
        "/health",
        "/runs/",
        "/receipts/",
    ):
        assert any(part in path for path in pages), part


def test_what_users_wrote_is_text_and_never_markup(pages) -> None:
    shown = 0
    for path, answer in pages.items():
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        shown += "&lt;script&gt;alert(1)" in answer.text
        elements = Elements(answer.text)
        scripts = [given for tag, given in elements.found if tag == "script"]
        scripts = scripts if not path.endswith("/report") else []  # its own one, which its policy names by digest
        assert all(given.get("src") or given.get("type") == "application/json" for given in scripts), path
        handlers = [name for _, given in elements.found for name in given if name.startswith("on")]
        assert handlers == [], path
        assert not any("alert" in str(given) and tag in {"img", "script"} for tag, given in elements.found), path
        assert not re.search(r"alert\(2\)&gt;\s*49", answer.text), f"{path} computes what a user wrote"
    assert shown >= 6, "the hostile texts are on the pages, as text"


def test_pages_hold_no_inline_style_but_the_gates_own_report(pages) -> None:
    for path, answer in pages.items():
        if not answer.headers.get("content-type", "").startswith("text/html") or path.endswith("/report"):
            continue
        elements = Elements(answer.text)
        assert not any(tag == "style" or "style" in given for tag, given in elements.found), path


def test_figures_are_json_without_nan(pages) -> None:
    figures = [text for answer in pages.values() if "data-chart" in answer.text for text in Elements(answer.text).json]
    assert len(figures) > 8
    for text in figures:
        figure = json.loads(text, parse_constant=pytest.fail)
        assert figure["data"]
        assert "<" not in text


def test_every_page_carries_the_security_headers(pages) -> None:
    for path, answer in pages.items():
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert "unsafe-inline" not in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        if not path.endswith("/report"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path


def test_the_report_is_the_gates_own_page_and_can_reach_nothing(pages, project) -> None:
    path, answer = next((path, answer) for path, answer in pages.items() if path.endswith("/report"))
    policy = answer.headers["content-security-policy"]
    assert policy == f"{page_policy()}; frame-ancestors 'self'; sandbox allow-scripts"
    assert answer.text == render_html(read_report(project.store.bucket, "delay", path.split("/")[-2]))
    frame = next(given for tag, given in Elements(pages[path.removesuffix("/report")].text).found if tag == "iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert frame["src"] == path


def test_overview_says_what_serves_how_it_does_and_what_to_do(client) -> None:
    text = client.get("/").text
    assert "version 2" in text
    assert "promoted by ana" in text
    assert "Needs you" in text
    assert "Look at delay" in text
    assert "tidegate monitor status delay" in text
    assert "trouble" in text


def test_overview_of_an_empty_project_says_how_to_start(empty) -> None:
    for path in ("/", "/runs", "/models", "/monitoring", "/decisions", "/data", "/health", "/search"):
        assert empty.get(path).status == 200, path
    assert "Nothing needs you" in empty.get("/").text


def test_model_page_tells_the_ledger_newest_first(client) -> None:
    text = client.get("/models/delay").text
    entries = [int(found) for found in re.findall(r'id="entry-(\d+)"', text)]
    assert entries == sorted(entries, reverse=True)
    assert len(entries) == 8
    assert "The hash chain of 8 entries holds" in text
    assert "(replay)" in text


def test_model_page_shows_a_broken_chain(project: Workspace, tmp_path, client) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project.project.folder, copy)
    entry = next(copy.rglob("ledger/00000002.json"))
    entry.chmod(0o644)
    entry.write_bytes(entry.read_bytes().replace(b'"ana"', b'"eve"'))
    workspace = Workspace.open(copy)
    text = Client(create_app(workspace)).get("/models/delay").text
    workspace.store.close()
    assert "The chain does not hold" in text
    assert "hash chain of" not in text


def test_runs_are_filtered_by_the_same_language(client) -> None:
    assert "train 3 features" in client.get("/runs?where=params.features+%3D+'3'").text
    assert "train 1 features" not in client.get("/runs?where=params.features+%3D+'3'").text
    assert client.get("/runs?order_by=metrics.loss+desc").status == 200


def test_a_filter_that_cannot_be_read_is_explained_in_place(client) -> None:
    answer = client.get("/runs?where=metrics.loss+%3C%3C+3&order_by=%3Cscript%3E")
    assert answer.status == 200
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text.replace("<script src", "").replace("<script type", "")


def test_compare_shows_only_what_differs(client) -> None:
    runs = [run["id"] for run in client.get("/api/v1/runs?experiment=delay").json if run["name"].startswith("train")]
    text = client.get(f"/compare?run={runs[0]}&run={runs[1]}").text
    assert '<th scope="row">features</th>' in text
    assert '<th scope="row">C</th>' not in text
    assert text.count("data-chart") == 2


@pytest.mark.parametrize(
    "query", ["", "?run=1", "?run=a&run=b", "?run=" + "&run=".join("a" * 24 for _ in range(30)), "?run=%00&run=%00"]
)
def test_compare_refuses_what_cannot_be_compared(client, query: str) -> None:
    answer = client.get(f"/compare{query}")
    assert answer.status in {400, 404}
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("ident", HOSTILE_IDS)
def test_weird_ids_are_not_found_and_show_no_traceback(client, ident: str) -> None:
    safe = quote(ident, safe="%")
    for pattern in (
        "/runs/{}", "/models/{}", "/models/delay/versions/{}", "/models/delay/receipts/{}", "/models/delay/receipts/{}/report", "/monitoring/{}",
        "/decisions/{}", "/data/{}", "/data/flights-eval/{}", "/static/{}", "/{}", "/api/v1/runs/{}", "/api/v1/models/{}/ledger",
        "/api/v1/models/delay/versions/{}", "/api/v1/models/delay/receipts/{}", "/api/v1/decisions/{}", "/api/v1/data/{}", "/api/v1/{}",
    ):  # fmt: skip
        path = pattern.format(safe)
        answer = client.get(path)
        assert answer.status == 404, path
        assert "Traceback" not in answer.text
        assert "site-packages" not in answer.text
        if path.startswith("/api/"):
            assert set(answer.json["error"]) == {"code", "what", "why", "fix"}
        elif not path.startswith("/static/"):
            assert "What to do" in answer.text


@pytest.mark.parametrize("path", ["/runs?limit=x", "/runs?limit=-1", "/api/v1/runs?limit=1e3", "/api/v1/alerts?limit=%00"])
def test_bad_limits_are_refused(client, path: str) -> None:
    assert client.get(path).status == 400


def test_artifacts_are_downloads_that_no_browser_runs(client, project: Workspace) -> None:
    run = next(run for run in project.runs.search(experiment="delay") if "reports/notes.html" in run.artifacts)
    answer = client.get(f"/runs/{run.id}/artifacts/reports%2Fnotes.html")
    assert answer.status == 200
    assert answer.text == "<script>alert(3)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert client.get(f"/runs/{run.id}/artifacts/..%2f..%2fmetadata.db").status == 404


def test_search_opens_the_only_find(client) -> None:
    assert client.get("/search?q=flights-train").headers["location"] == "/data/flights-train"
    assert client.get("/search?q=delay@1").headers["location"] == "/models/delay/versions/1"
    assert "Nothing has that name" in client.get("/search?q=zzz").text
    assert HOSTILE not in client.get("/search?q=%3Cscript%3Ealert(1)").text


def test_times_are_utc_and_marked_as_times(client) -> None:
    assert '<time datetime="2013-06-01T09:00:00Z">2013-06-01 09:00:00Z</time>' in client.get("/models/delay").text


def test_a_spike_among_thousands_of_points_is_drawn(client, project: Workspace) -> None:
    run = next(run for run in project.runs.search() if run.name == "a longer run")
    figure = json.loads(Elements(client.get(f"/runs/{run.id}").text).json[0])
    band, line = figure["data"]
    assert max(value for value in band["y"] if value is not None) > 5
    assert len(line["y"]) <= 2 * charts.PIXELS


def test_a_bug_is_told_to_the_terminal_and_not_to_the_reader(project: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    class WithoutRooms:
        """What ``create_app`` itself needs of a workspace."""

        def __init__(self) -> None:
            self.project, self.clock, self.store = project.project, project.clock, project.store

    broken = Client(create_app(WithoutRooms()))
    for path in ("/", "/api/v1/overview"):
        answer = broken.get(path)
        assert answer.status == 500
        assert "Traceback" not in answer.text
        assert "model_names" not in answer.text
    assert broken.get("/api/v1/overview").json["error"]["code"] == "internal"
    assert "model_names" in caplog.text

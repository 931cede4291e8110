"""Artifacts of MLflow's REST API: up, down, listed, dropped; never outside, never changed unnoticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow_rest import FILES, Refused, Rest

from tidegate.errors import IntegrityError
from tidegate.server import create_app
from tidegate.server.mlflow import artifacts
from tidegate.server.mlflow.artifacts import place_of, safe_path
from tidegate.server.mlflow.protocol import MlflowError
from tidegate.store.objects import object_key
from tidegate.workspace import Workspace


def refusal(ask, *arguments, **fields) -> Refused:
    with pytest.raises(Refused) as found:
        ask(*arguments, **fields)
    return found.value


def root(run: str) -> str:
    return f"0/{run}/artifacts"


def test_a_file_goes_up_and_comes_down(rest: Rest, workspace: Workspace) -> None:
    run = rest.run()
    assert rest.put(f"{root(run)}/notes/\u00fc \u00f1 100%.txt", b"hello").status == 200
    answer = rest.client.send("GET", f"{FILES}/{root(run)}/notes/%C3%BC%20%C3%B1%20100%25.txt")
    assert (answer.status, answer.text, answer.headers["content-type"]) == (200, "hello", "text/plain")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert workspace.store.runs.get(run).artifacts == {"notes/\u00fc \u00f1 100%.txt": hashlib.sha256(b"hello").hexdigest()}
    assert not list((workspace.store.root / "uploads").iterdir())
    viewed = rest.client.send("GET", f"/get-artifact?run_uuid={run}&path=notes/%C3%BC%20%C3%B1%20100%25.txt")
    assert viewed.text == "hello"


def test_a_file_may_be_replaced_and_be_empty(rest: Rest) -> None:
    run = rest.run()
    rest.put(f"{root(run)}/a", b"one")
    rest.put(f"{root(run)}/a", b"")
    answer = rest.client.send("GET", f"{FILES}/{root(run)}/a")
    assert (answer.status, answer.text) == (200, "")
    assert rest.get("artifacts/list", run_id=run)["files"] == [{"path": "a", "is_dir": False, "file_size": 0}]


def test_folders_are_listed(rest: Rest) -> None:
    run = rest.run()
    assert rest.get("artifacts/list", run_id=run) == {"root_uri": f"mlflow-artifacts:/0/{run}/artifacts"}
    for path in ("model/MLmodel", "model/data/x", "top.txt", "models/other"):
        rest.put(f"{root(run)}/{path}", b"123")
    assert rest.get("artifacts/list", run_id=run)["files"] == [
        {"path": "model", "is_dir": True},
        {"path": "models", "is_dir": True},
        {"path": "top.txt", "is_dir": False, "file_size": 3},
    ]
    expected = [{"path": "model/MLmodel", "is_dir": False, "file_size": 3}, {"path": "model/data", "is_dir": True}]
    assert rest.get("artifacts/list", run_id=run, path="model")["files"] == expected
    listed = rest.client.send("GET", f"{FILES}?path={root(run)}/model").json["files"]
    assert listed == [{"path": "MLmodel", "is_dir": False, "file_size": 3}, {"path": "data", "is_dir": True}]
    assert rest.client.send("GET", f"{FILES}?path={root(run)}/model/MLmodel").json == {}


def test_files_of_models_and_traces_have_owners_of_their_own(rest: Rest, workspace: Workspace) -> None:
    rest.put("0/models/m-1/artifacts/MLmodel", b"m")
    rest.put("0/traces/tr-1/artifacts/traces.json", b"t")
    rest.put("elsewhere/a.txt", b"e")
    assert [item.path for item in workspace.store.artifacts.list("m-1")] == ["MLmodel"]
    assert [item.path for item in workspace.store.artifacts.list("tr-1")] == ["traces.json"]
    assert rest.client.send("GET", f"{FILES}/elsewhere/a.txt").text == "e"
    assert place_of("0/r/artifacts/a/artifacts/b") == ("r", "a/artifacts/b")
    assert place_of("my/own/place/r/artifacts") == ("r", "")


def test_files_and_folders_are_dropped(rest: Rest) -> None:
    run = rest.run()
    for path in ("a/b", "a/c/d", "ab"):
        rest.put(f"{root(run)}/{path}", b"1")
    assert rest.client.send("DELETE", f"{FILES}/{root(run)}/a").status == 200
    assert [item["path"] for item in rest.get("artifacts/list", run_id=run)["files"]] == ["ab"]
    assert rest.client.send("DELETE", f"{FILES}/{root(run)}/nothing").json == {}
    assert rest.client.send("DELETE", f"{FILES}/{root(run)}").status == 200
    assert "files" not in rest.get("artifacts/list", run_id=run)


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../x", "a/%2e%2e/x", "a/%252e%252e/x", "a/..%2fx", "%2e%2e%2fx", "/etc/passwd", "%2fetc", "%252fetc", "C:/x", "C:%5Cx",
        "%5C%5Cserver%5Cx", "a%5C..%5Cx", "a%00b", "file:%2f%2f%2fetc", "a%23b", "%25%32%65%25%32%65/x",
    ],
)  # fmt: skip
def test_no_path_leads_outside(rest: Rest, path: str) -> None:
    run = rest.run()
    for method in ("GET", "PUT", "DELETE"):
        answer = rest.client.send(method, f"{FILES}/{path}", b"x" if method == "PUT" else b"")
        assert (answer.status, answer.json) == (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}), method
    assert rest.client.send("GET", f"{FILES}?path={path}").status == 400
    assert rest.client.send("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={path}").status == 400


def test_a_line_break_is_part_of_no_name(rest: Rest) -> None:
    assert rest.client.send("PUT", f"{FILES}/0/r/artifacts/a%0ab", b"x").status in {400, 404}


@given(st.text(st.sampled_from("ab./\\%25efC:#\x00\u00e9 "), max_size=20))
def test_a_safe_path_stays_inside(text: str) -> None:
    try:
        path = safe_path(text)
    except MlflowError:
        return
    assert not path.startswith("/")
    assert not {"..", ".", ""} & set(path.split("/")) or path == ""
    assert safe_path(path) == path


def test_what_is_absent_is_404_and_a_folder_is_no_file(rest: Rest) -> None:
    run = rest.run()
    rest.put(f"{root(run)}/a/b", b"1")
    assert rest.client.send("GET", f"{FILES}/{root(run)}/x").status == 404
    assert rest.client.send("GET", f"{FILES}/{root(run)}/a").status == 400
    assert refusal(rest.get, "artifacts/list", run_id="nobody").status == 404


def test_parts_of_a_file(rest: Rest) -> None:
    run = rest.run()
    rest.put(f"{root(run)}/a", b"0123456789")

    def part(text: str, **more: str):
        return rest.client.send("GET", f"{FILES}/{root(run)}/a", range=text, **more)

    answer = part("bytes=2-4")
    assert (answer.status, answer.text, answer.headers["content-range"]) == (206, "234", "bytes 2-4/10")
    assert part("bytes=7-").text == "789"
    assert part("bytes=-3").text == "789"
    assert part("bytes=5-99").text == "56789"
    assert part("bytes=99-").status == 416
    for ignored in ("bytes=-", "lines=1-2", "bytes=1-2,4-5"):
        assert part(ignored).status == 200
    etag = answer.headers["etag"]
    assert part("bytes=2-4", if_range='"other"').status == 200
    assert rest.client.send("GET", f"{FILES}/{root(run)}/a", if_none_match=etag).status == 304


def test_a_changed_object_is_never_served_whole(rest: Rest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rest.run()
    rest.put(f"{root(run)}/a", b"hello")
    stored: Path = workspace.store.bucket.local(object_key(hashlib.sha256(b"hello").hexdigest()))
    stored.chmod(0o644)
    stored.write_bytes(b"jello")
    answer = rest.client.send("GET", f"{FILES}/{root(run)}/a")
    assert answer.status == 400
    assert "was changed on disk" in answer.json["message"]
    monkeypatch.setattr(artifacts, "_CHECKED_FIRST", 0)
    with pytest.raises(IntegrityError):  # the connection is cut before the end
        rest.client.send("GET", f"{FILES}/{root(run)}/a")


def test_large_files_are_checked_while_they_are_sent(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_CHECKED_FIRST", 0)
    monkeypatch.setattr(artifacts, "_BLOCK", 1000)
    run, data = rest.run(), b"0123456789" * 1234
    rest.put(f"{root(run)}/a", data)
    assert rest.client.send("GET", f"{FILES}/{root(run)}/a").text.encode() == data


def test_uploads_of_a_killed_server_are_forgotten(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace.store.root / "uploads"
    folder.mkdir()
    (folder / "half").write_bytes(b"x")
    (folder / "gone").symlink_to(folder / "taken")  # as what another server removes between our looking and our asking
    create_app(workspace)
    assert (folder / "half").exists(), "another server may be receiving it"
    monkeypatch.setattr(artifacts, "_STALE_SECONDS", -1)
    create_app(workspace)
    assert not (folder / "half").exists()


def test_what_needs_a_cloud_is_declined_as_mlflow_declines_it(rest: Rest) -> None:
    for verb in ("create", "complete", "abort"):
        answer = rest.client.send(
            "POST", f"/api/2.0/mlflow-artifacts/mpu/{verb}/0/r/artifacts", b"{}", content_type="application/json"
        )
        assert (answer.status, answer.json["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert answer.json["message"] == "Multipart upload is not supported for the current artifact repository"
    assert rest.client.send("GET", "/api/2.0/mlflow-artifacts/presigned/0/r/artifacts/a").status == 501
    for direction in ("upload", "download"):
        assert refusal(rest.post, f"artifacts/presigned-{direction}-url", run_id="r", path="a").status == 400

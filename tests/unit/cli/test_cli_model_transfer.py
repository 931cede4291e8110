from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import urllib.request

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry_server import PASSWORD, USER, RegistryServer
from tidegate import digest
from tidegate.cli import main
from tidegate.models.oci import Connection, Registry, parse_artifact
from tidegate.models.oci.artifact import ImageManifest
from tidegate.models.oci.layout import ImageLayout
from tidegate.models.oci.registry import MANIFEST
from tidegate.records.model import PackagedFile
from tidegate.store.objects import put_object
from tidegate.workspace import Workspace

SIGNED = '[models.delay]\ntask = "binary"\n[models.delay.serving]\nsigned_by = ["release.pub"]\n'


@pytest.fixture
def version(delay_project, tmp_path, monkeypatch):
    """A registered model in a project of its own, which is the working directory; beside it a key that signs."""
    project = shutil.copytree(delay_project, tmp_path / "project")
    monkeypatch.chdir(project)
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (project / "release.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (project / "release.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    workspace = Workspace.open(project)
    yield workspace.models.get("delay@1")
    workspace.store.close()


@pytest.fixture
def place(registry_server):
    return f"oci://{registry_server.host}/team/{secrets.token_hex(6)}"


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


def told(capsys, *words):
    code, out, errors = run(capsys, *words, "--json")
    assert code == 0, out + errors
    return json.loads(out)


def test_sign_and_verify(version, capsys, monkeypatch, tmp_path):
    code, _, errors = run(capsys, "model", "sign", "delay@1")
    assert (code, "no-signing-key" in errors) == (2, True)
    assert run(capsys, "model", "verify", "delay@1", "--key", "release.pub")[0] == 1
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", "release.pem")
    signed = told(capsys, "model", "sign", "delay@1")
    assert (signed["version"], signed["digest"], signed["key"]) == (
        "delay@1",
        version.digest,
        digest.of_file(tmp_path / "project/release.pub"),
    )
    assert told(capsys, "model", "sign", "delay@1") == signed
    found = told(capsys, "model", "verify", "delay@1", "--key", "release.pub")
    assert (found["signed_by"], found["signatures"], found["problems"]) == (signed["key"], [signed["key"]], [])
    code, out, _ = run(capsys, "model", "verify", "delay@1")
    told_key = f"delay@1 says it is signed by {signed['key'][:12]}: to hold it against a key you trust, --key FILE\n"
    asked = "delay@1: all as registered\nnext: tidegate model load-check delay@1\n"
    assert (code, out) == (0, told_key + asked), "without a policy nobody asks for one"
    (tmp_path / "project/tidegate.toml").write_text(SIGNED)
    assert "delay@1 is signed by release.pub\n" in run(capsys, "model", "verify", "delay@1")[1]


def test_push_and_pull_into_another_project(version, capsys, monkeypatch, tmp_path, place):
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", "release.pem")
    run(capsys, "model", "sign", "delay@1")
    code, out, _ = run(capsys, "model", "push", "delay@1", place)
    assert code == 0
    pinned = out.split("next: tidegate model pull ")[1].strip()
    assert pinned.startswith(f"{place}@sha256:")
    again = told(capsys, "model", "push", "delay@latest", f"{place}:stable")
    assert (again["artifact"], again["sent"], again["digest"]) == (pinned, 0, version.digest)
    assert told(capsys, "model", "pull", f"{place}:stable", "--to", tmp_path / "folder")["artifact"] == pinned
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tidegate.toml").write_text(SIGNED)
    (tmp_path / "other/release.pub").write_bytes((tmp_path / "project/release.pub").read_bytes())
    pulled = told(capsys, "-C", tmp_path / "other", "model", "pull", pinned)
    assert (pulled["version"], pulled["digest"], pulled["artifact"]) == ("delay@1", version.digest, pinned)
    code, out, _ = run(capsys, "-C", tmp_path / "other", "model", "verify", "delay@1")
    assert (code, out.splitlines()[:2]) == (0, ["delay@1 is signed by release.pub", "delay@1: all as registered"])
    assert "registered version 1" in run(capsys, "-C", tmp_path / "other", "release", "log", "delay")[1]
    assert run(capsys, "-C", tmp_path / "other", "model", "load-check", "delay@1")[0] == 0
    assert list((tmp_path / "other/.tidegate").glob("pull-*")) == []


def test_a_project_that_asks_for_signatures_takes_no_unsigned_version(version, capsys, tmp_path, place):
    pinned = told(capsys, "model", "push", "delay@1", place)["artifact"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tidegate.toml").write_text(SIGNED)
    (tmp_path / "other/release.pub").write_bytes((tmp_path / "project/release.pub").read_bytes())
    code, _, errors = run(capsys, "-C", tmp_path / "other", "model", "pull", pinned)
    assert (code, "package-not-signed" in errors) == (1, True)
    assert told(capsys, "-C", tmp_path / "other", "model", "list") == []


def test_pull_into_a_folder(version, capsys, tmp_path):
    code, out, _ = run(capsys, "model", "pull", "delay@1")
    assert (code, "delay@1 is in delay-1: 1 file, signed by nobody" in out) == (0, True)
    assert digest.of_file(tmp_path / "project/delay-1/manifest.json") == version.digest
    assert run(capsys, "model", "pull", "delay@1")[0] == 1, "nothing is overwritten"


def test_credentials_come_from_docker_or_the_settings_and_are_not_told(version, capsys, monkeypatch, tmp_path):
    server = RegistryServer(tmp_path, auth="password").start()
    try:
        place = f"oci://{server.host}/delay"
        code, _, errors = run(capsys, "model", "push", "delay@1", place)
        assert (code, "registry-denied" in errors) == (1, True)
        (tmp_path / "docker").mkdir()
        auths = {"auths": {server.host: {"username": USER, "password": PASSWORD}}}
        (tmp_path / "docker/config.json").write_text(json.dumps(auths))
        assert told(capsys, "model", "push", "delay@1", place)["sent"] > 0
        monkeypatch.setenv("TIDEGATE_REGISTRY_USER", USER)
        monkeypatch.setenv("TIDEGATE_REGISTRY_PASSWORD", "not the password")
        code, out, errors = run(capsys, "model", "pull", place + ":1", "--to", tmp_path / "denied")
        assert (code, "registry-denied" in errors, "not the password" in out + errors) == (1, True, False)
        monkeypatch.setenv("TIDEGATE_REGISTRY_PASSWORD", PASSWORD)
        assert told(capsys, "model", "pull", place + ":1", "--to", tmp_path / "pulled")["digest"] == version.digest
        assert PASSWORD not in run(capsys, "settings", "explain")[1]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["model", "push", "delay@1", "registry.example.com/delay"], "bad-artifact-reference"),
        (["model", "push", "delay@1", "oci://127.0.0.1:9/delay"], "registry-unreachable"),
        (["model", "push", "delay@7", "oci://127.0.0.1:9/delay"], "no-such-version"),
        (["model", "pull", "oci://127.0.0.1:9/delay:1"], "registry-unreachable"),
        (["model", "verify", "delay@1", "--key", "missing.pub"], "bad-signing-key"),
        (["build", "image", "delay@1", "--platform", "amd64"], "bad-platform"),
        (["build", "image", "delay@1", "--base", "."], "not-a-layout"),
    ],
)
def test_what_cannot_be_done_is_told(version, capsys, tmp_path, words, code):
    _, out, _ = run(capsys, *words, "--json")
    assert json.loads(out)["error"]["code"] == code
    assert [path.name for path in (tmp_path / "project").iterdir() if "image" in path.name] == []


@pytest.fixture
def base(tmp_path):
    """The smallest base there can be: no layer at all."""
    (tmp_path / "base").mkdir()
    layout = ImageLayout(tmp_path / "base")
    layout.begin()
    config = layout.add(
        json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode(),
        "application/vnd.oci.image.config.v1+json",
    )
    manifest = ImageManifest(schema_version=2, media_type=MANIFEST, config=config, layers=[])
    layout.finish(layout.add(digest.canonical(manifest), MANIFEST))
    return tmp_path / "base"


def test_build_image(version, capsys, base, tmp_path):
    code, out, _ = run(capsys, "build", "image", "delay@1")
    assert (code, "delay-1-image/Dockerfile serves delay@1" in out) == (0, True)
    first, second = (told(capsys, "build", "image", "delay@1", "--base", base, "--to", tmp_path / name) for name in ("a", "b"))
    assert first["image"] == second["image"]
    assert json.loads((tmp_path / "a/oci/index.json").read_bytes())["manifests"][0]["digest"] == first["image"]
    assert (tmp_path / "a/Dockerfile").read_text() == (tmp_path / "b/Dockerfile").read_text()


def test_a_base_in_a_registry_is_pinned_in_the_dockerfile(version, capsys, base, tmp_path, registry_server):
    layout, place = ImageLayout.open(base), parse_artifact(f"oci://{registry_server.host}/base/{secrets.token_hex(4)}:1")
    connection = Connection(place)
    config = json.loads(layout.get_manifest("").data)["config"]["digest"]
    Registry(connection).send_blob(config, layout.blob_file(config))
    pushed = Registry(connection).put_manifest(layout.get_manifest("").data, MANIFEST, "1")
    connection.close()
    found = told(capsys, "build", "image", "delay@1", "--base", place, "--to", tmp_path / "image")
    assert found["base"] == f"{place.name}:1@{pushed}"
    assert f"ARG BASE={found['base']}\n" in (tmp_path / "image/Dockerfile").read_text()
    code, out, _ = run(capsys, "build", "image", "delay@1", "--base", base, "--to", tmp_path / "same")
    assert (code, f"same/oci is the image {found['image']}" in out) == (0, True)


def test_an_image_of_what_must_be_signed(version, capsys, monkeypatch, tmp_path):
    (tmp_path / "project/tidegate.toml").write_text(SIGNED)
    code, _, errors = run(capsys, "build", "image", "delay@1")
    assert (code, "package-not-signed" in errors) == (1, True)
    assert not (tmp_path / "project/delay-1-image").exists()
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", "release.pem")
    run(capsys, "model", "sign", "delay@1")
    assert run(capsys, "build", "image", "delay@1")[0] == 0


def test_what_runs_code_says_so_before_it_does(version, capsys, tmp_path, place):
    workspace = Workspace.open(tmp_path / "project")
    file = PackagedFile(path="model.py", size=4, digest=put_object(workspace.store.bucket, b"pass"))
    workspace.models.keep("script", [file], format="mlflow", loads_code=True, signature=version.manifest.signature)
    workspace.store.close()
    code, _, errors = run(capsys, "build", "image", "script@1")
    assert (code, "loads-code" in errors) == (1, True)
    (tmp_path / "project/tidegate.toml").write_text(
        '[models.script]\ntask = "binary"\n[models.script.serving]\nallow_code = true\n'
    )
    assert run(capsys, "build", "image", "script@1")[0] == 0
    assert "allow_code = true" in (tmp_path / "project/script-1-image/rootfs/srv/tidegate/tidegate.toml").read_text()
    pinned = told(capsys, "model", "push", "script@1", place)["artifact"]
    code, out, _ = run(capsys, "-C", tmp_path / "project", "model", "pull", pinned, "--to", tmp_path / "pulled")
    assert (code, "it runs code of its own when it is loaded" in out) == (0, True)


def test_the_images_folder_serves_by_its_own_entrypoint(version, capsys, monkeypatch, tmp_path):
    (tmp_path / "project/tidegate.toml").write_text(SIGNED)
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", "release.pem")
    run(capsys, "model", "sign", "delay@1")
    run(capsys, "build", "image", "delay@1", "--to", tmp_path / "image")
    inside = tmp_path / "image/rootfs/srv/tidegate"
    command = [sys.executable, "-m", "tidegate", "serve", "delay@1", "--port", "0"]
    with subprocess.Popen(command, cwd=inside, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith("serving delay@1 on http://127.0.0.1:")
            body = json.dumps(
                {
                    "inputs": [
                        {
                            "name": version.manifest.signature.input_names[0],
                            "shape": [1, 3],
                            "datatype": "FP64",
                            "data": [1, 2, 3],
                        }
                    ]
                }
            )
            request = urllib.request.Request(
                line.split()[-1] + "/v2/models/delay/infer", body.encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert json.loads(answer.read())["model_version"] == "1"
        finally:
            server.terminate()


def test_a_server_that_asks_for_signatures_refuses_an_unsigned_version(version, tmp_path, capsys):
    (tmp_path / "project/tidegate.toml").write_text(SIGNED)
    code, _, errors = run(capsys, "serve", "delay@1", "--port", "0")
    assert (code, "package-not-signed" in errors, "tidegate model sign delay@1" in errors) == (1, True, True)
    code, _, errors = run(capsys, "serve", "delay@champion")
    assert (code, "version-not-wanted" in errors) == (2, True)

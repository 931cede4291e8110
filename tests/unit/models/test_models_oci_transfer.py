"""Versions that go to a registry and come back, as themselves; and artifacts of other tools, honest and hostile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import shutil
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lying_registry import LyingRegistry
from packages import FILES, Key, keep, model_signing

from tidegate import digest
from tidegate.errors import (
    BadInputError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    TidegateError,
    UnavailableError,
    UsageError,
)
from tidegate.models import Models
from tidegate.models.adopting import adopt
from tidegate.models.folder import read_manifest, write_folder
from tidegate.models.oci import Connection, Registry, parse_artifact, pull, push
from tidegate.models.oci.artifact import (
    ARTIFACT,
    CONFIG,
    FILE_PATH,
    make_artifact,
    model_layers,
    read_image_index,
    read_image_manifest,
)
from tidegate.models.oci.registry import INDEX, MANIFEST
from tidegate.models.package import manifest_bytes, manifest_key
from tidegate.models.signing import find_signatures
from tidegate.store import open_store
from tidegate.store.objects import object_key

RAW = "application/vnd.cncf.model.weight.v1.raw"


@pytest.fixture
def version(models, store):
    return keep(models, store.bucket)


@pytest.fixture
def place(registry_server):
    """A repository that nobody has used."""
    return parse_artifact(f"oci://{registry_server.host}/team/{secrets.token_hex(6)}")


@contextlib.contextmanager
def opened(place):
    connection = Connection(place, wait=lambda _: None)
    try:
        yield Registry(connection)
    finally:
        connection.close()


@pytest.fixture
def elsewhere(tmp_path, clock):
    """Another project's store."""
    store = open_store(tmp_path / "elsewhere")
    yield Models(store.bucket, store.catalog, clock, author="bo"), store
    store.close()


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_comes_back_as_itself(models, version, store, place, elsewhere, tmp_path):
    key = Key(tmp_path, "release")
    models.sign(version, str(key.private))
    steps = []
    with opened(place) as registry:
        pushed = push(store.bucket, version, registry, place, moved=lambda done, total: steps.append((done, total)))
        assert pushed.reference.tag == "1", "the tag is the version's number"
        assert pushed.sent == pushed.size == steps[-1][0] == steps[-1][1]
        again = push(store.bucket, version, registry, place._replace(tag="stable"))
        assert (again.reference.digest, again.sent) == (pushed.reference.digest, 0)
        pulled = pull(registry, pushed.reference, tmp_path / "pulled")
        assert pulled.reference.digest == pushed.reference.digest
        assert pull(registry, place._replace(tag="stable"), tmp_path / "by-tag").reference.digest == pushed.reference.digest
    assert pulled.version == version
    write_folder(store.bucket, version, tmp_path / "local")
    assert files_of(tmp_path / "pulled") == files_of(tmp_path / "local") == files_of(tmp_path / "by-tag")
    signature = next((tmp_path / "pulled/signatures").iterdir())
    done = model_signing("verify", "key", tmp_path / "pulled", "--signature", signature, "--public_key", key.public)
    assert done.returncode == 0, done.stdout + done.stderr
    there, other = elsewhere
    assert there.adopt(tmp_path / "pulled", signed_by=key.trusted) == version
    assert there.adopt(tmp_path / "pulled") == version, "twice is once"
    assert there.get("delay@1").manifest.author == "ana"
    assert there.verify("delay@1") == []
    assert find_signatures(other.bucket, version) == find_signatures(store.bucket, version)
    assert make_artifact(version, manifest_bytes(other.bucket, version), find_signatures(other.bucket, version)).manifest == (
        make_artifact(version, manifest_bytes(store.bucket, version), find_signatures(store.bucket, version)).manifest
    ), "pushed from there it has the same digest"


def test_an_artifact_is_a_modelpack(version, store):
    """Source: CNCF model-spec, spec.md (media types), schema/config-schema.json (keys), annotations.md."""
    artifact = make_artifact(version, manifest_bytes(store.bucket, version), [])
    manifest = json.loads(artifact.manifest)
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, "application/vnd.oci.image.manifest.v1+json")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert manifest["config"]["digest"] == "sha256:" + digest.of_bytes(artifact.config)
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in manifest["layers"]}
    assert kinds == {
        "manifest.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "files/model.onnx": "application/vnd.cncf.model.weight.v1.raw",
        "files/tokens/vocabulary.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "files/README.md": "application/vnd.cncf.model.doc.v1.raw",
        "files/.gitattributes": "application/vnd.cncf.model.weight.v1.raw",
    }
    assert manifest["layers"][0]["digest"] == f"sha256:{version.digest}"
    config = json.loads(artifact.config)
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["descriptor"] == {
        "createdAt": "2013-06-01T12:00:00+00:00",
        "authors": ["ana"],
        "name": "delay",
        "version": "1",
        "title": "delay@1",
        "description": "late?",
        "revision": "a" * 40,
    }
    assert config["config"] == {"format": "onnx"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in manifest["layers"]]}


def test_a_push_by_digest_is_refused(version, store, place):
    with opened(place) as registry, pytest.raises(UsageError) as caught:
        push(store.bucket, version, registry, place._replace(digest="sha256:" + "a" * 64))
    assert caught.value.code == "push-by-digest"


def test_a_damaged_package_is_not_pushed(version, store, place):
    path = store.root / "bucket" / object_key(version.manifest.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"something else")
    with opened(place) as registry:
        with pytest.raises(IntegrityError):
            push(store.bucket, version, registry, place)
        with pytest.raises(NotFoundError):
            registry.get_manifest("1")


def test_a_full_folder_is_not_overwritten(version, store, place, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    with opened(place) as registry:
        place = push(store.bucket, version, registry, place).reference
        with pytest.raises(ConflictError):
            pull(registry, place, tmp_path / "full")
        pull(registry, place, tmp_path / "empty")
    with pytest.raises(ConflictError):
        write_folder(store.bucket, version, tmp_path / "full")
    assert files_of(tmp_path / "full") == {"mine.txt": b"mine"}
    assert (tmp_path / "empty/manifest.json").is_file()


def test_nothing_is_left_of_a_pull_that_fails(version, store, place, registry_server, tmp_path):
    with opened(place) as registry:
        pushed = push(store.bucket, version, registry, place)
        stored = registry_server.blob("sha256:" + version.manifest.files[-1].digest)
        stored.write_bytes(stored.read_bytes()[:-1] + b"!")
        with pytest.raises(IntegrityError) as caught:
            pull(registry, pushed.reference, tmp_path / "pulled")
        stored.unlink()
    assert caught.value.code == "artifact-changed"
    assert list(tmp_path.glob("*pulled*")) == []


@pytest.mark.parametrize(("key", "value"), [("manifests", []), ("manifests", [{}]), ("mediaType", INDEX)])
def test_a_document_that_could_be_read_in_two_ways_is_not_read(version, store, key, value):
    written = json.loads(make_artifact(version, manifest_bytes(store.bucket, version), []).manifest)
    assert read_image_manifest(json.dumps(written).encode()).layers
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_image_manifest(json.dumps(written | {key: value}).encode())


@pytest.mark.parametrize("path", ["manifest.json", "signatures/a.sig"])
def test_a_document_as_large_as_a_model_is_not_fetched(maker, tmp_path, path):
    place = maker.push(maker.layer(b"x", path, size=1 << 40), maker.layer(b"y", "files/a"))
    with pytest.raises(IntegrityError) as caught:
        pull(maker.registry, place, tmp_path / "pulled")
    assert "is no document" in caught.value.why


class Maker:
    """Artifacts as no honest tool makes them."""

    def __init__(self, registry: Registry, place) -> None:
        self.registry, self.place = registry, place

    def layer(self, data: bytes, path: str | None, kind: str = RAW, size: int | None = None) -> dict:
        named = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.registry.send_blob(named, data)
        described = {"mediaType": kind, "digest": named, "size": len(data) if size is None else size}
        return described if path is None else described | {"annotations": {FILE_PATH: path}}

    def push(self, *layers: dict, artifact: str = ARTIFACT, config: str = CONFIG):
        written = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact,
            "config": self.layer(b"{}", None, config),
            "layers": list(layers),
        }
        found = self.registry.put_manifest(json.dumps(written).encode(), MANIFEST, "made")
        return self.place._replace(digest=found)


@pytest.fixture
def maker(place):
    with opened(place) as registry:
        yield Maker(registry, place)


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/outside", "a/../../outside", "a\\outside", ".", "", "a//b", "x" * 300, None]
)
def test_paths_that_leave_the_folder(maker, path, tmp_path):
    reference = maker.push(maker.layer(b"x", path))
    with pytest.raises(BadInputError) as caught:
        pull(maker.registry, reference, tmp_path / "deep/pulled")
    assert caught.value.code in {"path-outside", "not-a-model-artifact"}
    assert list(tmp_path.rglob("outside")) == []


def test_contradictions(maker, tmp_path):
    twice = maker.push(maker.layer(b"x", "a"), maker.layer(b"y", "a"))
    with pytest.raises(BadInputError, match="no model that can be read"):
        pull(maker.registry, twice, tmp_path / "twice")
    inside = maker.push(maker.layer(b"x", "a"), maker.layer(b"y", "a/b"))
    with pytest.raises(IntegrityError, match="contradicts itself"):
        pull(maker.registry, inside, tmp_path / "inside")
    with pytest.raises(BadInputError) as caught:
        pull(
            maker.registry, maker.push(maker.layer(b"x", "a", "application/vnd.cncf.model.weight.v1.tar+zstd")), tmp_path / "zstd"
        )
    assert "tar+zstd, which is not read here" in caught.value.why
    image = maker.push(maker.layer(b"x", "a"), artifact="", config="application/vnd.oci.image.config.v1+json")
    with pytest.raises(BadInputError) as caught:
        pull(maker.registry, image, tmp_path / "image")
    assert "it is application/vnd.oci.image.config.v1+json" in caught.value.why


def test_a_list_of_images_is_no_model(maker, tmp_path):
    one = maker.push(maker.layer(b"x", "a"))
    described = {"mediaType": MANIFEST, "digest": one.digest, "size": len(maker.registry.get_manifest(one.digest).data)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}).encode()
    listed = maker.place._replace(digest=maker.registry.put_manifest(index, INDEX, "listed"))
    with pytest.raises(IntegrityError, match="is a list of images"):
        pull(maker.registry, listed, tmp_path / "pulled")


def test_declared_sizes_are_believed_only_to_refuse(maker, registry_server, tmp_path):
    liar = LyingRegistry(registry_server.host)
    try:
        written = json.dumps(
            {
                "schemaVersion": 2,
                "artifactType": ARTIFACT,
                "config": maker.layer(b"{}", None, CONFIG),
                "layers": [maker.layer(b"x", "a", size=1 << 60)],
            }
        ).encode()
        place = parse_artifact(f"oci://{liar.host}/a@sha256:{hashlib.sha256(written).hexdigest()}")
        liar.always("GET", "manifests", lambda true: true._replace(status=200, body=written, headers=()))
        with opened(place) as registry, pytest.raises(UnavailableError) as caught:
            pull(registry, place, tmp_path / "huge")
        assert caught.value.code == "disk-full"
        assert f"declares {1 << 60} bytes" in caught.value.why
    finally:
        liar.close()


def test_archives_of_other_tools_are_unpacked(maker, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("model/weights.safetensors")
        entry.size = 7
        tar.addfile(entry, io.BytesIO(b"weights"))
    reference = maker.push(
        maker.layer(buffer.getvalue(), "weights.tar.gz", "application/vnd.cncf.model.weight.v1.tar+gzip"),
        maker.layer(b"# read me", "README.md", "application/vnd.cncf.model.doc.v1.raw"),
    )
    pulled = pull(maker.registry, reference, tmp_path / "pulled")
    assert pulled.version is None
    assert pulled.files == ["README.md", "model/weights.safetensors"]
    assert files_of(tmp_path / "pulled") == {"README.md": b"# read me", "model/weights.safetensors": b"weights"}
    with pytest.raises(BadInputError) as caught:
        adopt(None, tmp_path / "pulled")
    assert caught.value.code == "not-a-package"


def test_a_package_whose_manifest_and_layers_differ(maker, version, store, tmp_path):
    manifest = maker.layer(manifest_bytes(store.bucket, version), "manifest.json")
    layers = [maker.layer(data, f"files/{path}") for path, data in FILES.items()]
    assert pull(maker.registry, maker.push(manifest, *layers), tmp_path / "whole").version == version
    for number, wrong in enumerate(
        (
            layers[1:],
            [*layers, maker.layer(b"x", "files/more")],
            [*layers, maker.layer(b"x", "more")],
            [maker.layer(b"x", "files/model.onnx"), *layers[1:]],
        )
    ):
        with pytest.raises(IntegrityError) as caught:
            pull(maker.registry, maker.push(manifest, *wrong), tmp_path / f"wrong-{number}")
        assert "manifest.json and the layers differ in" in caught.value.why
        assert not (tmp_path / f"wrong-{number}").exists()


def test_adopting_asks_for_signatures_and_believes_no_file(models, version, store, elsewhere, tmp_path):
    there, other = elsewhere
    key, stranger = Key(tmp_path, "release"), Key(tmp_path, "stranger")
    write_folder(store.bucket, version, tmp_path / "unsigned")
    with pytest.raises(RefusedError) as caught:
        there.adopt(tmp_path / "unsigned", signed_by=key.trusted)
    assert caught.value.code == "package-not-signed"
    models.sign(version, str(stranger.private))
    write_folder(store.bucket, version, tmp_path / "strange")
    with pytest.raises(RefusedError):
        there.adopt(tmp_path / "strange", signed_by=key.trusted)
    shutil.copytree(tmp_path / "unsigned", tmp_path / "changed")
    (tmp_path / "changed/files/model.onnx").write_bytes(b"weightS" * 1000)
    with pytest.raises(IntegrityError, match=r"model\.onnx is not the file"):
        there.adopt(tmp_path / "changed")
    (tmp_path / "changed/files/model.onnx").unlink()
    (tmp_path / "changed/files/model.onnx").symlink_to(tmp_path / "unsigned/files/model.onnx")
    with pytest.raises(IntegrityError, match=r"model\.onnx is not the file"):
        there.adopt(tmp_path / "changed")
    assert other.bucket.find(manifest_key("delay", 1)) is None
    assert there.list() == []


def test_another_version_of_that_number_is_kept(version, store, elsewhere, tmp_path):
    there, other = elsewhere
    own = keep(there, other.bucket, {"model.onnx": b"another"})
    write_folder(store.bucket, version, tmp_path / "pulled")
    with pytest.raises(ConflictError) as caught:
        there.adopt(tmp_path / "pulled")
    assert caught.value.code == "version-taken"
    assert there.get("delay@1") == own


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest | {"files": [*manifest["files"], manifest["files"][0]]},
        lambda manifest: manifest | {"files": [manifest["files"][0] | {"path": "../outside"}]},
        lambda manifest: manifest | {"files": [manifest["files"][0] | {"path": "a"}, manifest["files"][0] | {"path": "a/b"}]},
        lambda manifest: manifest | {"files": [manifest["files"][0] | {"size": -1}]},
        lambda manifest: manifest | {"name": "../delay"},
        lambda manifest: manifest | {"version": 0},
        lambda _: [],
    ],
)
def test_manifests_that_are_none(version, store, change):
    read = json.loads(manifest_bytes(store.bucket, version))
    assert read_manifest(json.dumps(read).encode()).manifest == version.manifest
    with pytest.raises(TidegateError) as caught:
        read_manifest(json.dumps(change(read)).encode())
    assert caught.value.code in {"manifest-unreadable", "path-outside"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_is_a_document_or_refused(value):
    for read in (read_image_manifest, read_image_index, read_manifest):
        with pytest.raises(TidegateError):
            read(json.dumps(value).encode())


def test_documents_nested_too_deeply_are_refused():
    deep = b'{"annotations":' * 100_000
    for read in (read_image_manifest, read_image_index, read_manifest):
        with pytest.raises(IntegrityError):
            read(deep)


def test_a_manifest_with_other_digests_is_refused():
    described = {"mediaType": CONFIG, "digest": "md5:abc", "size": 1}
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_image_manifest(json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode())
    good = described | {"digest": "sha256:" + "a" * 64}
    found = read_image_manifest(json.dumps({"schemaVersion": 2, "config": good, "layers": []}).encode())
    assert model_layers(found) == {}

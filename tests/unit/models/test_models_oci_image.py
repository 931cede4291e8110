"""Images without an engine: what they hold, that equal inputs give equal bytes, and that what is in them serves."""

from __future__ import annotations

import gzip
import io
import json
import secrets
import shutil
import subprocess
import tarfile
import tomllib
from importlib import metadata

import msgspec
import pytest
from packages import Key, keep

from tidegate import digest
from tidegate.errors import BadInputError, IntegrityError, NotFoundError
from tidegate.models import load_version
from tidegate.models.oci import Connection, Registry, parse_artifact
from tidegate.models.oci.artifact import ImageIndex, ImageManifest
from tidegate.models.oci.image import build_layout, dockerfile, image_files, key_files, requirements, write_context, write_layer
from tidegate.models.oci.layout import REF_NAME, ImageLayout
from tidegate.models.oci.registry import INDEX, MANIFEST
from tidegate.models.signing import find_signatures
from tidegate.records.policy import ServingPolicy
from tidegate.store.bucket import open_bucket

CONFIG = "application/vnd.oci.image.config.v1+json"


def base_image(folder, *, machine="amd64", finish=True, docker=False, **config):
    """A layout of one image, with one layer and a configuration as real bases have them."""
    layout = ImageLayout(folder)
    if not (folder / "blobs").exists():
        layout.begin()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(f"etc/{machine}")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else "application/vnd.oci.image.layer.v1.tar+gzip"
    layer = layout.add(gzip.compress(buffer.getvalue(), mtime=0), kind)
    written = {
        "architecture": machine,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["python3"], "Labels": {"by": "someone"}, "User": "root"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest.of_bytes(buffer.getvalue())]},
        "history": [{"created_by": "someone"}],
    } | config
    manifest = ImageManifest(
        schema_version=2, media_type=MANIFEST, config=layout.add(json.dumps(written).encode(), CONFIG), layers=[layer]
    )
    described = layout.add(digest.canonical(manifest), MANIFEST)
    described = msgspec.structs.replace(described, platform={"os": "linux", "architecture": machine})
    if finish:
        layout.finish(described)
    return described


@pytest.fixture
def version(models, store):
    return keep(models, store.bucket)


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    base_image(folder)
    return ImageLayout.open(folder)


def built(base, version, store, folder, wanted="", policy=ServingPolicy(), **options):
    folder.mkdir()
    return build_layout(base, wanted, image_files(store.bucket, version, policy), version, folder, **options)


def read(folder):
    """The manifest, the configuration and the layers' bytes of a layout, as any tool would read them."""
    blob = lambda one: (folder / "blobs/sha256" / one["digest"].removeprefix("sha256:")).read_bytes()  # noqa: E731
    index = json.loads((folder / "index.json").read_bytes())
    manifest = json.loads(blob(index["manifests"][0]))
    return index, manifest, json.loads(blob(manifest["config"])), [blob(layer) for layer in manifest["layers"]]


def test_an_image_is_the_base_and_one_layer_more(base, version, store, tmp_path):
    """Source: OCI Image Specification 1.1: image-layout.md, manifest.md, config.md."""
    image = built(base, version, store, tmp_path / "oci")
    index, manifest, config, layers = read(tmp_path / "oci")
    assert json.loads((tmp_path / "oci/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert (index["schemaVersion"], len(index["manifests"])) == (2, 1)
    assert index["manifests"][0]["digest"] == image.digest
    assert index["manifests"][0]["platform"] == {"os": "linux", "architecture": "amd64"}
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar",
    ]
    for described, data in zip(manifest["layers"], layers, strict=True):
        assert described["digest"] == "sha256:" + digest.of_bytes(data)
        assert described["size"] == len(data)
    assert config["rootfs"]["diff_ids"] == [
        "sha256:" + digest.of_bytes(gzip.decompress(layers[0])),
        manifest["layers"][1]["digest"],
    ]
    assert len(config["history"]) == 2
    inner = config["config"]
    assert (inner["User"], inner["WorkingDir"]) == ("65532:65532", "/srv/tidegate")
    assert inner["Entrypoint"] == ["tidegate", "serve", "delay@1", "--host", "0.0.0.0", "--port", "8080"]
    assert "Cmd" not in inner, "the base's would become an argument"
    assert (inner["Env"], inner["Labels"]["by"]) == (["PATH=/usr/bin", "ORT_DISABLE_TELEMETRY=1"], "someone")
    assert inner["Labels"]["dev.tidegate.model.digest"] == version.digest
    assert config["created"] == "2013-06-01T12:00:00Z"
    blobs = {path.name for path in (tmp_path / "oci/blobs/sha256").iterdir()}
    named = {image.digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert {f"sha256:{name}" for name in blobs} == named, "nothing else is in it"


def test_equal_inputs_give_equal_bytes(base, version, store, tmp_path):
    first, second = (built(base, version, store, tmp_path / name) for name in ("one", "two"))
    assert first == second
    files = {name: (tmp_path / "one" / name).read_bytes() for name in ("index.json", "oci-layout")}
    assert files == {name: (tmp_path / "two" / name).read_bytes() for name in files}


def test_the_layer_belongs_to_root_and_holds_no_surprise(version, store, tmp_path):
    write_layer(tmp_path / "layer", image_files(store.bucket, version, ServingPolicy(max_rows=5)), 1370088000)
    with tarfile.open(tmp_path / "layer") as tar:
        members = tar.getmembers()
        names = [member.name for member in members]
        assert names == sorted(names)
        [scratch] = [member for member in members if member.name == "var/lib/tidegate"]  # what a new volume takes its owner from
        assert (scratch.uid, scratch.gid, scratch.mode, scratch.isdir()) == (65532, 65532, 0o700, True)
        others = [member for member in members if member is not scratch]
        assert {(member.uid, member.gid) for member in others} == {(0, 0)}
        assert {(member.mtime, member.uname) for member in members} == {(1370088000, "")}
        assert {member.mode for member in members if member.isfile()} == {0o644}
        assert {member.mode for member in others if member.isdir()} == {0o755}
        assert {name for name in names if not name.startswith("srv")} == {"var", "var/lib", "var/lib/tidegate"}
        settings = tar.extractfile("srv/tidegate/tidegate.toml").read().decode()
    assert tomllib.loads(settings) == {"models": {"delay": {"serving": {"max_rows": 5}}}}


def test_what_is_in_the_layer_serves_and_asks_for_its_signature(models, candidate, store, tmp_path, columns):
    key = Key(tmp_path, "release")
    version = models.register(candidate)
    models.sign(version, str(key.private))
    policy = ServingPolicy(signed_by=[key.public.name])
    keys = key_files(key.trusted, lambda name: (tmp_path / name).read_bytes())
    files = image_files(store.bucket, version, policy, find_signatures(store.bucket, version), keys)
    write_layer(tmp_path / "layer", files, 0)
    with tarfile.open(tmp_path / "layer") as tar:
        tar.extractall(tmp_path / "root", filter="data")
    project = tmp_path / "root/srv/tidegate"
    asked = tomllib.loads((project / "tidegate.toml").read_text())["models"]["delay"]["serving"]["signed_by"]
    assert asked == [f"keys/{key.id}.pub"]
    assert (project / asked[0]).read_bytes() == key.public.read_bytes()
    bucket = open_bucket(project / ".tidegate")
    predictor = load_version(bucket, version, signed_by=key.trusted)
    assert len(predictor.predict(columns)["probability"]) == 400


def test_one_of_several_platforms(version, store, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    images = [base_image(folder, machine=machine, finish=False) for machine in ("amd64", "arm64")]
    layout = ImageLayout(folder)
    listed = layout.add(digest.canonical(ImageIndex(schema_version=2, media_type=INDEX, manifests=images)), INDEX)
    layout.finish(msgspec.structs.replace(listed, annotations={REF_NAME: "v1"}))
    built(layout, version, store, tmp_path / "arm", "v1", platform="linux/arm64")
    index, _, config, _ = read(tmp_path / "arm")
    assert config["architecture"] == index["manifests"][0]["platform"]["architecture"] == "arm64"
    with pytest.raises(NotFoundError) as caught:
        built(layout, version, store, tmp_path / "riscv", platform="linux/riscv64")
    assert (caught.value.code, caught.value.why) == ("no-such-platform", "it has linux/amd64, linux/arm64")
    with pytest.raises(NotFoundError) as caught:
        built(layout, version, store, tmp_path / "v2", "v2")
    assert caught.value.code == "no-such-artifact"


def test_a_base_of_dockers_types_becomes_an_oci_image(version, store, tmp_path):
    (tmp_path / "base").mkdir()
    base_image(tmp_path / "base", docker=True)
    built(ImageLayout.open(tmp_path / "base"), version, store, tmp_path / "oci")
    assert read(tmp_path / "oci")[1]["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_a_base_in_a_registry_gives_the_same_image(base, version, store, registry_server, tmp_path):
    place = parse_artifact(f"oci://{registry_server.host}/base/{secrets.token_hex(4)}:1")
    connection = Connection(place)
    registry = Registry(connection)
    try:
        stored = base.get_manifest("")
        manifest = json.loads(stored.data)
        for one in (manifest["config"], *manifest["layers"]):
            registry.send_blob(one["digest"], base.blob_file(one["digest"]))
        registry.put_manifest(stored.data, MANIFEST, "1")
        from_registry = built(registry, version, store, tmp_path / "from-registry", "1")
    finally:
        connection.close()
    assert from_registry == built(base, version, store, tmp_path / "from-folder")


@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_base_that_was_changed(base, version, store, tmp_path, part):
    manifest = json.loads(base.get_manifest("").data)
    path = base.blob_file((manifest["config"] if part == "config" else manifest["layers"][0])["digest"])
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError) as caught:
        built(base, version, store, tmp_path / "oci")
    assert caught.value.code == "artifact-changed"


@pytest.mark.parametrize("config", [{"rootfs": {"diff_ids": []}}, {"rootfs": None}, {"config": 5}, {"history": 5}])
def test_a_base_that_contradicts_itself(version, store, tmp_path, config):
    (tmp_path / "base").mkdir()
    base_image(tmp_path / "base", **config)
    with pytest.raises(IntegrityError, match="no image that can be built on"):
        built(ImageLayout.open(tmp_path / "base"), version, store, tmp_path / "oci")


@pytest.mark.parametrize("mark", [None, "{", '{"imageLayoutVersion": "2.0.0"}'])
def test_what_is_no_layout(mark, tmp_path):
    if mark is not None:
        (tmp_path / "oci-layout").write_text(mark)
    with pytest.raises(BadInputError) as caught:
        ImageLayout.open(tmp_path)
    assert caught.value.code == "not-a-layout"


def test_a_layout_whose_index_or_blobs_are_gone(base, version, store, tmp_path):
    manifest = json.loads(base.get_manifest("").data)
    base.blob_file(manifest["layers"][0]["digest"]).unlink()
    with pytest.raises(NotFoundError):
        built(base, version, store, tmp_path / "one")
    (base.folder / "index.json").unlink()
    with pytest.raises(NotFoundError):
        built(base, version, store, tmp_path / "two")


def test_the_dockerfile_runs_as_nobody_on_a_pinned_base(version, store, tmp_path):
    text = dockerfile(version, "docker.io/library/python:3.12-slim@sha256:" + "a" * 64)
    lines = text.splitlines()
    assert f"ARG BASE=docker.io/library/python:3.12-slim@sha256:{'a' * 64}" in lines
    assert "FROM ${BASE} AS runtime" in lines
    assert "USER 65532:65532" in lines
    assert 'ENTRYPOINT ["tidegate", "serve", "delay@1", "--host", "0.0.0.0", "--port", "8080"]' in lines
    assert any(line.startswith("HEALTHCHECK ") and "/v2/health/ready" in line for line in lines)
    assert "ARG BASE" in dockerfile(version).splitlines(), "whoever builds names it"
    locked = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, requirements=["onnxruntime==1.31.0"])
    )
    assert requirements(locked) == f"tidegate[grpc,s3,serving,sign]=={metadata.version('tidegate')}\nonnxruntime==1.31.0\n"
    write_context(tmp_path / "context", image_files(store.bucket, version, ServingPolicy()), version)
    copied = {path.relative_to(tmp_path / "context").as_posix() for path in (tmp_path / "context").rglob("*") if path.is_file()}
    assert {"Dockerfile", "requirements.txt", ".dockerignore", "rootfs/srv/tidegate/tidegate.toml"} <= copied
    assert not any("key" in path or "secret" in path.lower() for path in copied)


@pytest.mark.slow
def test_skopeo_reads_and_copies_the_image(base, version, store, registry_server, tmp_path):
    assert shutil.which("skopeo"), "run tools/debian-packages skopeo"
    image = built(base, version, store, tmp_path / "oci")
    told = json.loads(_run("skopeo", "inspect", f"oci:{tmp_path / 'oci'}"))
    assert (told["Digest"], told["Architecture"], len(told["Layers"])) == (image.digest, "amd64", 2)
    raw = json.loads(_run("skopeo", "inspect", "--config", f"oci:{tmp_path / 'oci'}"))
    assert raw["config"]["User"] == "65532:65532"
    target = f"docker://{registry_server.host}/images/{secrets.token_hex(4)}:1"
    _run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'oci'}", target)
    _run("skopeo", "copy", "--src-tls-verify=false", target, f"dir:{tmp_path / 'back'}")
    manifest = json.loads((tmp_path / "back/manifest.json").read_bytes())
    config = json.loads((tmp_path / "back" / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())
    assert config["rootfs"] == read(tmp_path / "oci")[2]["rootfs"], "skopeo hashed what is in the layers"


def _run(*command) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout

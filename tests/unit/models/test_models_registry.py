from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tidegate import digest
from tidegate.errors import BadInputError, IntegrityError, NotFoundError, RefusedError, UnavailableError, UsageError
from tidegate.models import Models, load_package, load_version
from tidegate.models.package import manifest_key, version_numbers
from tidegate.records.model import Lineage
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.objects import object_key


class FullBucket(FolderBucket):
    """A disk that is full when a key that matches ``refuse`` is written."""

    refuse = ""

    def put_if_absent(self, key, source, **options):
        if self.refuse and self.refuse in key:
            raise UnavailableError("disk-full", "the disk is full")
        return super().put_if_absent(key, source, **options)


def test_a_candidate_becomes_a_version(models, candidate, clock, store):
    version = models.register(candidate, lineage=Lineage(run="r1", git_commit="abc"))
    manifest = version.manifest
    assert (version.ref, manifest.author, manifest.created_at, manifest.format) == ("delay@1", "ana", clock.now(), "onnx")
    assert manifest.lineage.snapshots == ["flights@1"]
    assert manifest.lineage.run == "r1"
    assert manifest.lineage.packages["scikit-learn"]
    assert version.digest == digest.of_bytes(store.bucket.find(manifest_key("delay", 1)).data)
    assert models.get("delay@1") == models.get("delay@latest") == models.get("delay") == version
    assert models.list("delay") == models.list() == [version]
    entry = store.catalog.list("model")[0]
    assert (entry.name, entry.number, entry.digest, entry.summary["run"]) == ("delay", 1, version.digest, "r1")


def test_serving_needs_the_bucket_alone(models, candidate, columns, fitted, flights, store):
    version = models.register(candidate)
    predictor = load_package(FolderBucket(store.root / "bucket"), "delay", 1, version.digest)
    np.testing.assert_allclose(predictor.predict(columns)["probability"], fitted.predict_proba(flights)[:, 1], atol=1e-5)
    assert predictor.signature == version.manifest.signature


def test_the_same_content_is_the_same_version(models, candidate, boosted, flights, caplog):
    first = models.register(candidate)
    models.register(candidate)
    assert not caplog.records
    again = models.register(replace(candidate, description="said differently"))
    assert "delay@1 holds this package already" in caplog.text
    other = models.register(replace(candidate, estimator=boosted, example=flights[["wind", "seats", "previous_delay"]]))
    assert again == first
    assert other.ref == "delay@2"
    assert [version.ref for version in models.list("delay")] == ["delay@2", "delay@1"]


def test_the_same_content_trained_on_other_rows_is_another_version(models, candidate):
    models.register(candidate)
    again = models.register(replace(candidate, trained_on=["flights-eval@1"]))
    assert (again.version, again.manifest.lineage.snapshots) == (2, ["flights-eval@1"])


def test_an_unknown_task_is_named(models, candidate):
    with pytest.raises(BadInputError, match="'binray' cannot be packed") as caught:
        models.register(replace(candidate, task="binray"))
    assert caught.value.fix == "did you mean 'binary'?"


def test_a_candidate_survives_a_pipelines_cache(models, candidate):
    assert models.register(pickle.loads(pickle.dumps(candidate))) == models.register(candidate)


def test_racers_with_different_models_get_different_numbers(store, clock, candidate, flights, late):
    from sklearn.linear_model import LogisticRegression

    table = flights[["wind", "seats"]]
    candidates = [replace(candidate, estimator=LogisticRegression(C=2.0**-n).fit(table, late), example=table) for n in range(4)]
    registries = [Models(store.bucket, store.catalog, clock, author=str(n)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda pair: pair[0].register(pair[1]), zip(registries, candidates, strict=True)))
        again = list(pool.map(lambda pair: pair[0].register(pair[1]), zip(registries, candidates, strict=True)))
    assert sorted(version.version for version in versions) == [1, 2, 3, 4]
    assert again == versions


def test_racers_with_the_same_model_get_one_version(store, clock, candidate):
    registries = [Models(store.bucket, store.catalog, clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda registry: registry.register(candidate), registries))
    assert len({version.digest for version in versions}) == 1
    assert version_numbers(store.bucket, "delay") == [1]


@pytest.mark.parametrize("place", ["objects/", "models/"])
def test_a_full_disk_leaves_no_half_version(tmp_path, store, clock, candidate, place):
    bucket = FullBucket(tmp_path / "full")
    models = Models(bucket, store.catalog, clock)
    bucket.refuse = place
    with pytest.raises(UnavailableError, match="disk-full"):
        models.register(candidate)
    assert models.list("delay") == []
    bucket.refuse = ""
    assert models.register(candidate).version == 1


@pytest.mark.parametrize("part", ["file", "manifest"])
def test_a_changed_package_is_refused_before_it_is_loaded(models, candidate, store, part):
    version = models.register(candidate)
    key = object_key(version.manifest.files[0].digest) if part == "file" else manifest_key("delay", 1)
    path = store.bucket.local(key)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"model", b"modem", 1))
    with pytest.raises(IntegrityError, match="object-changed" if part == "file" else "manifest-changed"):
        load_package(store.bucket, "delay", 1, version.digest)
    assert models.verify(version)
    assert models.verify("delay@1")  # what was read now is held against the index


def test_a_manifest_in_another_versions_place_is_refused(models, candidate, store):
    data = store.bucket.find(manifest_key("delay", models.register(candidate).version)).data
    for name, number in (("other", 1), ("delay", 2)):
        store.bucket.put_if_absent(manifest_key(name, number), data)
        with pytest.raises(IntegrityError, match="it is that of delay@1"):
            load_package(store.bucket, name, number, "")


def test_a_missing_file_is_told(models, candidate, store):
    version = models.register(candidate)
    path = store.bucket.local(object_key(version.manifest.files[0].digest))
    path.unlink()
    with pytest.raises(NotFoundError, match="object-missing"):
        models.load(version)
    assert "missing" in models.verify(version)[0]


def test_verify_finds_nothing_wrong_where_nothing_is(models, candidate):
    assert models.verify(models.register(candidate)) == []


def test_a_package_that_runs_code_needs_leave(models, candidate, store):
    version = models.register(candidate)
    import msgspec

    coded = msgspec.structs.replace(version, manifest=msgspec.structs.replace(version.manifest, loads_code=True))
    with pytest.raises(RefusedError, match="loads-code"):
        load_version(store.bucket, coded)
    assert load_version(store.bucket, coded, allow_code=True).signature == version.manifest.signature


def test_what_is_not_there_is_told_with_what_is(models, candidate):
    models.register(candidate)
    with pytest.raises(NotFoundError, match="no-such-version") as caught:
        models.get("delay@7")
    assert "delay@1" in caught.value.fix
    with pytest.raises(NotFoundError, match="no-such-model") as caught:
        models.get("dela")
    assert "'delay'" in caught.value.fix
    for bad in ("delay@champion", "../x", "delay@", "x@1.5"):
        with pytest.raises(UsageError):
            models.get(bad)


def test_a_bad_name_registers_nothing(models, candidate):
    with pytest.raises(UsageError, match="bad-name"):
        models.register(replace(candidate, name="../delay"))
    with pytest.raises(BadInputError):
        models.register(replace(candidate, example=candidate.example.head(0)))
    assert models.list() == []


def test_the_index_can_be_rebuilt(models, candidate, store):
    version = models.register(candidate)
    store.catalog.clear()
    assert models.list() == []
    assert models.reindex() == 1
    assert models.list() == [version]

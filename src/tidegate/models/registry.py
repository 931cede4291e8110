"""The model registry: candidates become numbered, immutable versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import msgspec
import numpy as np

from tidegate import digest as digests
from tidegate.clock import Clock
from tidegate.errors import IntegrityError, NotFoundError, UsageError
from tidegate.models.candidate import Candidate
from tidegate.models.formats import Predictor, find_format, formats
from tidegate.models.package import load_version, manifest_key, read_version, verify_package, version_numbers
from tidegate.models.packing import Contents, pack
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Signature
from tidegate.records.names import check_name, nearest, parse_reference
from tidegate.store.objects import put_object
from tidegate.store.ports import Bucket, Catalog, CatalogEntry

KIND = "model"
"""Kind of the catalog's rows."""

_RUNTIMES = ("tidegate", "numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "skops")


class Models:
    """Registers, finds, loads and verifies versions. Safe to use from several processes at once."""

    def __init__(self, bucket: Bucket, catalog: Catalog, clock: Clock, author: str = "") -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._clock = clock
        self._author = author

    def register(self, candidate: Candidate, *, lineage: Lineage | None = None) -> ModelVersion:
        """Packs a candidate as the next version; content that is already a version, trained on the same, gives that version.

        Raises:
            BadInputError: the estimator does not fit its example, or no format can hold it.
            UnavailableError: the disk is full, or an extra is not installed; then no version exists.
        """
        check_name(candidate.name, "model")
        contents = pack(candidate, formats())
        manifest = self._manifest(candidate, contents, _lineage(candidate, lineage))
        _refuse_unloadable(manifest, contents)
        numbers = version_numbers(self._bucket, candidate.name)
        for number in reversed(numbers):
            present = read_version(self._bucket, candidate.name, number)
            if _same_content(present.manifest, manifest):
                return self._indexed(present)
        for data in contents.files.values():
            put_object(self._bucket, data)
        return self._indexed(self._claim(manifest, numbers[-1] + 1 if numbers else 1))

    def keep(
        self,
        name: str,
        files: Sequence[PackagedFile],
        *,
        format: str,  # noqa: A002 - the word of the manifest
        loads_code: bool,
        signature: Signature,
        lineage: Lineage | None = None,
        description: str = "",
    ) -> ModelVersion:
        """Makes a version of files that are in the bucket already, as they are; the same files again are another version.

        Nothing is known of what they answer: neither task nor parity. Who calls vouches that the objects are there.
        """
        check_name(name, "model")
        manifest = Manifest(
            name=name,
            version=0,
            task="unknown",
            format=format,
            loads_code=loads_code,
            signature=signature,
            files=sorted(files, key=lambda file: file.path),
            lineage=lineage or Lineage(),
            created_at=self._clock.now(),
            author=self._author,
            description=description,
        )
        numbers = version_numbers(self._bucket, name)
        return self._indexed(self._claim(manifest, numbers[-1] + 1 if numbers else 1, again=True))

    def get(self, ref: str) -> ModelVersion:
        """The version that ``delay@12``, ``delay@latest`` or ``delay`` names.

        Raises:
            NotFoundError: there is none.
            UsageError: the reference is none, or names a word that only a release knows.
        """
        reference = parse_reference(ref, "model")
        if reference.number is not None:
            return read_version(self._bucket, reference.name, reference.number)
        if reference.version not in {"", "latest"}:
            raise UsageError(
                "bad-reference",
                f"{ref!r} names no registered version",
                why="here a version is a number or latest",
                fix=f"write {reference.name}@latest; tidegate release log {reference.name} tells which version serves",
            )
        numbers = version_numbers(self._bucket, reference.name)
        if not numbers:
            known = sorted({entry.name for entry in self._catalog.list(KIND)})
            raise NotFoundError(
                "no-such-model",
                f"no version of {reference.name} is registered",
                fix=nearest(reference.name, known) if known else "register one: let a pipeline return a Candidate",
            )
        return read_version(self._bucket, reference.name, numbers[-1])

    def list(self, name: str = "") -> list[ModelVersion]:
        """All versions of a model, or of all models, newest first."""
        if name:
            return [read_version(self._bucket, name, number) for number in reversed(version_numbers(self._bucket, name))]
        return [read_version(self._bucket, entry.name, entry.number) for entry in self._catalog.list(KIND)]

    def load(self, version: ModelVersion | str, *, allow_code: bool = False) -> Predictor:
        """The version's model, ready to predict. Errors: see ``load_version``."""
        return load_version(self._bucket, self.get(version) if isinstance(version, str) else version, allow_code=allow_code)

    def verify(self, version: ModelVersion | str) -> list[str]:
        """Hashes everything again, and holds the manifest against the index; what is wrong, one sentence each."""
        found = self.get(version) if isinstance(version, str) else version
        indexed = [entry.digest for entry in self._catalog.list(KIND, found.name) if entry.number == found.version]
        problems = (
            [f"the manifest of {found.ref} is not the one that was registered"] if indexed and found.digest not in indexed else []
        )
        return problems + verify_package(self._bucket, found)

    def reindex(self) -> int:
        """Enters every version of the bucket into the index; returns how many there are."""
        names = sorted({key.split("/")[1] for key in self._bucket.keys("models/")})
        versions = [version for name in names for version in reversed(self.list(name))]
        for version in versions:
            self._indexed(version)
        return len(versions)

    def _manifest(self, candidate: Candidate, contents: Contents, lineage: Lineage) -> Manifest:
        return Manifest(
            name=candidate.name,
            version=0,
            task=candidate.task,
            format=contents.format,
            loads_code=contents.loads_code,
            signature=contents.signature,
            files=[
                PackagedFile(path=path, size=len(data), digest=digests.of_bytes(data))
                for path, data in sorted(contents.files.items())
            ],
            lineage=lineage,
            created_at=self._clock.now(),
            author=self._author,
            parity=contents.parity,
            description=candidate.description,
            classes=contents.classes,
        )

    def _claim(self, manifest: Manifest, number: int, *, again: bool = False) -> ModelVersion:
        """Takes the first free number from ``number`` on.

        Whoever took one meanwhile with the same content made this version, unless it is to be made ``again``.
        """
        while True:
            numbered = msgspec.structs.replace(manifest, version=number)
            data = digests.canonical(numbered)
            if self._bucket.put_if_absent(manifest_key(manifest.name, number), data):
                return ModelVersion(digest=digests.of_bytes(data), manifest=numbered)
            present = read_version(self._bucket, manifest.name, number)
            if not again and _same_content(present.manifest, manifest):
                return present
            number += 1

    def _indexed(self, version: ModelVersion) -> ModelVersion:
        manifest = version.manifest
        summary = {
            "task": manifest.task, "format": manifest.format, "author": manifest.author, "run": manifest.lineage.run,
            "size": manifest.size, "description": manifest.description,
        }  # fmt: skip
        key = manifest_key(version.name, version.version)
        self._catalog.put(CatalogEntry(KIND, version.name, version.version, key, version.digest, manifest.created_at, summary))
        return version


def _same_content(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests say the same of the same package. What it was trained on counts: the gate judges by it."""
    fields = ("files", "signature", "format", "task", "classes")
    known = ("snapshots", "training_digest")
    return all(getattr(one, field) == getattr(other, field) for field in fields) and all(
        getattr(one.lineage, field) == getattr(other.lineage, field) for field in known
    )


def _lineage(candidate: Candidate, given: Lineage | None) -> Lineage:
    known = given or Lineage()
    return msgspec.structs.replace(
        known,
        snapshots=known.snapshots or list(candidate.trained_on),
        training_digest=known.training_digest or candidate.training_digest,
        packages=known.packages or _runtime_versions(),
    )


def _runtime_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _RUNTIMES:
        try:
            found[name] = installed_version(name)
        except PackageNotFoundError:
            continue
    return found


def _refuse_unloadable(manifest: Manifest, contents: Contents) -> None:
    """Loads what was packed and asks it once more: a package that does not come back is never registered."""
    files: Mapping[str, bytes] = contents.files
    answers = find_format(manifest.format).load(files, manifest).predict(contents.probe.rows)
    for name, values in contents.probe.expected.items():
        if name != "label" and not np.allclose(answers[name], values, rtol=1e-4, atol=1e-4):
            raise IntegrityError(
                "package-differs",
                f"the packed {manifest.name} answers otherwise than its estimator",
                why=f"its {name} differs after loading",
                fix="report this with the estimator's definition",
            )

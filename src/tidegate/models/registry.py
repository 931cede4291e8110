"""The model registry: candidates become numbered, immutable versions."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import msgspec
import numpy as np

from tidegate import digest as digests
from tidegate.clock import Clock
from tidegate.errors import IntegrityError, NotFoundError, UsageError
from tidegate.models.adopting import adopt
from tidegate.models.candidate import Candidate
from tidegate.models.formats import Predictor, find_format, formats
from tidegate.models.formats.mlflow import DESCRIPTION, FORMAT, read_signature
from tidegate.models.mlflow_folder import read_mlflow
from tidegate.models.package import load_version, manifest_key, read_version, verify_package, version_numbers
from tidegate.models.packing import Contents, pack
from tidegate.models.requirements import requirements
from tidegate.models.signing import StoredSignature, TrustedKey, sign_version
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Parity, Signature
from tidegate.records.names import check_name, nearest, parse_reference
from tidegate.store.objects import put_object
from tidegate.store.ports import Bucket, Catalog, CatalogEntry

KIND = "model"
"""Kind of the catalog's rows."""

_AGAIN = 1e-4
"""Largest difference, absolute or relative, between an estimator and its package in the same format."""

_log = logging.getLogger("tidegate.models")
_WORDS = ("card", "description")
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
        manifest = msgspec.structs.replace(manifest, parity=_loaded_again(manifest, contents))
        numbers = version_numbers(self._bucket, candidate.name)
        for number in reversed(numbers):
            present = read_version(self._bucket, candidate.name, number)
            if _same_content(present.manifest, manifest):
                said = [word for word in _WORDS if getattr(manifest, word) not in {"", getattr(present.manifest, word)}]
                if said:
                    _log.warning("%s holds this package already: its %s stays as it is", present.ref, " and ".join(said))
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

    def keep_mlflow(self, folder: Path, name: str, *, lineage: Lineage | None = None, description: str = "") -> ModelVersion:
        """Makes a version of a folder that MLflow wrote, as it is. Nothing of it is loaded now; loading it later runs its code.

        Raises:
            NotFoundError: it is no such folder.
        """
        check_name(name, "model")
        files = read_mlflow(folder)
        packaged = [
            PackagedFile(path=path, size=file.stat().st_size, digest=put_object(self._bucket, file))
            for path, file in files.items()
        ]
        signature = read_signature(files[DESCRIPTION].read_bytes())
        return self.keep(
            name, packaged, format=FORMAT, loads_code=True, signature=signature, lineage=lineage, description=description
        )

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

    def sign(self, version: ModelVersion, key: str) -> StoredSignature:
        """Signs a version by a private key (PEM, or the path of one), after its files were held against their digests.

        Raises:
            IntegrityError: a file was changed or is missing.
            BadInputError: the key cannot be used.
            UnavailableError: the extra ``sign`` is not installed.
        """
        problems = self.verify(version)
        if problems:
            raise IntegrityError(
                "package-changed", f"{version.ref} is not as it was registered", why=problems[0], fix="tidegate store verify"
            )
        return sign_version(self._bucket, version, key)

    def adopt(self, folder: Path, *, signed_by: Sequence[TrustedKey] = ()) -> ModelVersion:
        """The version that a pulled package is, with its own name, number and digest. Errors: see ``adopting.adopt``."""
        return self._indexed(adopt(self._bucket, folder, signed_by=signed_by))

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
            requirements=requirements(contents.requires),
            python=platform.python_version(),
            card=candidate.card,
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


def _loaded_again(manifest: Manifest, contents: Contents) -> Parity:
    """Loads what was packed and asks it once more: a package that does not come back is never registered.

    The parity then tells the largest difference from the estimator also where the model was not compiled.
    """
    files: Mapping[str, bytes] = contents.files
    answers = find_format(manifest.format).load(files, manifest).predict(contents.probe.rows)
    largest, rows = 0.0, 0
    for name, values in contents.probe.expected.items():
        if name in {"label", "labels"}:
            continue
        if not np.allclose(answers[name], values, rtol=_AGAIN, atol=_AGAIN):
            raise IntegrityError(
                "package-differs",
                f"the packed {manifest.name} answers otherwise than its estimator",
                why=f"its {name} differs after loading",
                fix="report this with the estimator's definition",
            )
        rows = len(values)
        largest = max(largest, float(np.abs(np.asarray(answers[name], np.float64) - values).max(initial=0.0)))
    if contents.parity.holds:
        return contents.parity
    return msgspec.structs.replace(contents.parity, rows=rows, largest_difference=largest, tolerance=_AGAIN)

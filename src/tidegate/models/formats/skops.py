"""skops: a scikit-learn estimator as it is, in a format that builds only types it knows, and runs no code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tidegate.errors import IntegrityError, RefusedError, missing_extra
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.estimator import NativeModel, native_model
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, task_of
from tidegate.models.outputs import refuse_nan
from tidegate.models.signature import conform
from tidegate.places import Place, place_of
from tidegate.records.model import Manifest, Signature, Tensor

_FILE = "model.skops"
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_RATIO, _SMALL = 100, 64 * 1024 * 1024
"""How many times its size a file may have when it is unpacked; what is small may always be."""

TRUSTED = [
    "numpy.dtype",  # SimpleImputer keeps the type that it was fitted on
    "functools.partial",  # of a function that is listed, and refused, by its own name
    "sklearn.utils.validation.check_array",  # how gradient boosting with categories copies its numeric columns
    "sklearn.tree._tree.Tree",  # arrays of one tree: forged ones could crash, so only bytes with the recorded digest get here
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # arrays of one tree of gradient boosting
]
"""Types beside those that skops itself trusts, each read: plain state of scikit-learn, nothing that runs code."""


class SkopsFormat:
    """See ``Format``."""

    name = "skops"
    loads_code = False
    preference = 90

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:  # noqa: ARG002 - its models follow scikit-learn
        return None

    def pack(self, native: Native, probe: Probe) -> Packed:
        if not isinstance(native, NativeModel):
            raise CannotPackError(OTHER_LIBRARY, "this is no estimator of scikit-learn")
        data = dump(native.estimator)
        return Packed({_FILE: data}, None, frozenset(probe.missing), modules_in(data) | {"skops", "sklearn"})

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> SkopsPredictor:
        if _FILE not in files:
            raise IntegrityError("broken-package", f"{manifest.ref} holds no {_FILE}", fix="register the model again")
        estimator = restore(files[_FILE], _FILE, manifest)
        return SkopsPredictor(
            manifest.signature, native_model(estimator, task_of(manifest), manifest.signature.inputs, manifest.classes)
        )


class SkopsPredictor:
    """See ``Predictor``. It predicts on one thread: for few rows, a pool costs more than it gives."""

    def __init__(self, signature: Signature, native: NativeModel) -> None:
        from threadpoolctl import ThreadpoolController

        self.signature = signature
        self._native = native
        self._threads: Any = ThreadpoolController()

    def predict(self, columns: Mapping[str, object]) -> Columns:
        with self._threads.limit(limits=1):
            return refuse_nan(self._native.predict(conform(self.signature, columns)))


def dump(estimator: Any) -> bytes:
    """An estimator of scikit-learn as bytes; the same one gives the same bytes.

    Raises:
        CannotPackError: it holds types that no package may load, or that skops cannot write.
    """
    data = written(estimator)
    odd = _untrusted(_library(), data)
    if odd:
        raise CannotPackError(
            "untrusted-types",
            "the model holds types that no package may load",
            why=f"types that are not trusted: {', '.join(odd)}",
            fix="build the same from transformers of scikit-learn; a package never runs code of its own",
        )
    return data


def written(estimator: Any) -> bytes:
    """An estimator as bytes, whatever types it has; to load them is another question.

    Raises:
        CannotPackError: skops cannot write it.
    """
    try:
        return _reproducible(_library().dumps(estimator))
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CannotPackError(
            "not-skops",
            "the model cannot be kept as skops",
            why=f"{type(error).__name__}: {str(error)[:200]}",
            fix="use estimators of scikit-learn",
        ) from None


def modules_in(data: bytes) -> frozenset[str]:
    """The modules whose types and functions a file of skops names: top-level ones of packages, whole names of the project's."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        waiting: list[Any] = [json.loads(file.read(_SCHEMA))]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if isinstance(node.get("__module__"), str):
                found.add(node["__module__"])
    return frozenset(name if place_of(name, None) is Place.PROJECT else name.partition(".")[0] for name in found)


def restore(data: bytes, path: str, manifest: Manifest) -> Any:
    """The estimator in the bytes of the package's file ``path``.

    Raises:
        IntegrityError: they are none that this installation reads.
        RefusedError: they hold a type that is not trusted.
    """
    library = _library()
    try:
        _refuse_bomb(data)
        odd = _untrusted(library, data)
        if odd:
            raise RefusedError(
                "untrusted-types",
                f"{manifest.ref} holds types that are not trusted: {', '.join(odd)}",
                why="building them could run code",
                fix="register the model again from estimators of scikit-learn",
            )
        return library.loads(data, trusted=TRUSTED)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, ImportError, RecursionError) as error:
        raise IntegrityError(
            "broken-package",
            f"{path} of {manifest.ref} is no skops file that this installation reads",
            why=f"{type(error).__name__}: {str(error)[:200]}",
            fix="register the model again, or install the versions in its lineage",
        ) from None


def _refuse_bomb(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        size = sum(entry.file_size for entry in file.infolist())
    if size > _RATIO * len(data) + _SMALL:
        raise ValueError(f"it unpacks to {size} bytes, far more than its {len(data)}")


def _library() -> Any:
    try:
        import skops.io
    except ImportError:
        raise missing_extra("serving", "skops", "a model in its native format") from None
    return skops.io


def _untrusted(library: Any, data: bytes) -> list[str]:
    return sorted(set(library.get_untrusted_types(data=data)) - set(TRUSTED))


def _reproducible(data: bytes) -> bytes:
    """The same file without memory addresses and times in it, so that the same model gives the same bytes.

    skops names objects by ``id()``, and arrays' files after them: both are numbered in their order of appearance.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        contents = {name: source.read(name) for name in source.namelist() if name != _SCHEMA}
        schema = json.loads(source.read(_SCHEMA))
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def renumbered(node: Any) -> Any:
        if isinstance(node, list):
            return [renumbered(item) for item in node]
        if not isinstance(node, dict):
            return node
        out: dict[str, Any] = {}
        for key, value in node.items():
            if key == "__id__" and isinstance(value, int):
                out[key] = numbers.setdefault(value, len(numbers) + 1)
            elif isinstance(value, str) and value in contents:
                out[key] = names.setdefault(value, f"{len(names):06d}.{value.rpartition('.')[2]}")
            else:
                out[key] = renumbered(value)
        return out

    state = renumbered(schema)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as out:
        for old, new in names.items():
            out.writestr(zipfile.ZipInfo(new, _EPOCH), contents[old])
        out.writestr(zipfile.ZipInfo(_SCHEMA, _EPOCH), json.dumps(state))
    return target.getvalue()

"""Plain Python: source files of the project and a state in data files. Loading runs that code, where a deployment allows it.

    code.json        what to load: a function, a class, or an estimator of scikit-learn
    code/...         the source files that it reaches
    state/...        arrays as .npy, estimators as .skops, files as they are; what is plain JSON stands in code.json

Nothing is pickled. The code runs under module names of its own (``tidegate.models.isolation``).
"""

from __future__ import annotations

import io
import json
import tempfile
import types
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.errors import BadInputError, IntegrityError, TidegateError, missing_extra
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate, PythonModel
from tidegate.models.estimator import NativeModel, native_model
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, named_classes, task_of
from tidegate.models.formats.skops import modules_in, written
from tidegate.models.isolation import IsolatedCode
from tidegate.models.outputs import given_outputs, refuse_nan
from tidegate.models.paths import check_path, write_files
from tidegate.models.signature import conform
from tidegate.models.sources import Sources, collect
from tidegate.places import Place, place_of
from tidegate.records.model import Manifest, Signature, Tensor
from tidegate.records.policy import Task

_DESCRIPTION = "code.json"
_ESTIMATOR = "estimator.skops"


class PythonFormat:
    """See ``Format``. Estimators of scikit-learn are packed only if their author allows it (``Candidate(allow_code=True)``)."""

    name = "python"
    loads_code = True
    preference = 500

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        if not isinstance(candidate.estimator, PythonModel):
            return None
        predict = candidate.estimator.predict
        if not isinstance(predict, types.FunctionType | type) or "<" in predict.__qualname__ or "." in predict.__qualname__:
            raise BadInputError(
                "not-importable",
                f"{getattr(predict, '__qualname__', predict)!r} cannot be found by its name in a module",
                why="a package holds source files, and a name to import from them",
                fix="give a function or a class that stands at the top of a module of the project",
            )
        return PythonNative(candidate.estimator, candidate, inputs)

    def pack(self, native: Native, probe: Probe) -> Packed:
        if isinstance(native, PythonNative):
            return _packed_model(native, probe)
        if not isinstance(native, NativeModel):
            raise CannotPackError(OTHER_LIBRARY, "this is no estimator and no PythonModel")
        data = written(native.estimator)
        names = modules_in(data)
        if not native.allow_code:
            odd = ", ".join(sorted(name for name in names if place_of(name, None) is Place.PROJECT)) or "types that run code"
            raise CannotPackError(
                "code-not-allowed",
                "the model needs code that came with it",
                why=f"it would need code ({odd}), and its author did not allow that",
                fix="Candidate(..., allow_code=True) takes the source files along; the deployment has to allow it too",
            )
        sources = collect(names)
        description = {"estimator": _ESTIMATOR, "modules": sorted(_own(names, sources))}
        return _files(description, {_ESTIMATOR: data}, sources, probe, frozenset({"skops", "sklearn"}) | _packages(names))

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> PythonPredictor:
        try:
            description: Any = json.loads(files[_DESCRIPTION])
            paths = [check_path(path) for path in files]
        except (KeyError, ValueError, RecursionError, BadInputError) as error:
            raise IntegrityError(
                "broken-package",
                f"{manifest.ref} is no package of plain Python",
                why=str(error)[:200],
                fix="register the model again",
            ) from None
        folder = tempfile.TemporaryDirectory(prefix="tidegate-python-")
        root = Path(folder.name)
        write_files(root, {path: files[path] for path in paths})
        code = IsolatedCode(root / "code")
        try:
            predictor = _loaded(description, code, root, manifest)
        except BaseException as error:
            code.forget()
            folder.cleanup()
            if isinstance(error, TidegateError) or not isinstance(error, Exception):
                raise
            raise IntegrityError(
                "broken-package",
                f"the code of {manifest.ref} fails when it is loaded",
                why=f"{type(error).__name__}: {str(error)[:300]}",
                fix="see that it loads where it was trained, with the versions in its requirements",
            ) from error
        weakref.finalize(predictor, _forget, code, folder)
        return predictor


class PythonNative:
    """A function or class of the project with its state: see ``Native``."""

    def __init__(self, model: PythonModel, candidate: Candidate, inputs: list[Tensor]) -> None:
        self.estimator = model
        self.task: Task = candidate.task
        self.inputs = inputs
        self.class_names = named_classes(candidate)
        self._call = _callable(model.predict, dict(model.state))

    def predict(self, columns: Columns) -> Columns:
        return _asked(self._call, self.task, self.class_names, columns)


class PythonPredictor:
    """See ``Predictor``."""

    def __init__(self, signature: Signature, answer: Callable[[Columns], Columns]) -> None:
        self.signature = signature
        self._answer = answer

    def predict(self, columns: Mapping[str, object]) -> Columns:
        given = conform(self.signature, columns)
        try:
            return refuse_nan(self._answer(given))
        except SystemExit as error:
            raise RuntimeError("the code of the model called exit") from error  # it fails; who serves it goes on


def _packed_model(native: PythonNative, probe: Probe) -> Packed:
    predict, held = native.estimator.predict, dict[str, bytes]()
    state = {name: _kept(name, value, held) for name, value in native.estimator.state.items()}
    names = {predict.__module__}.union(*(modules_in(data) for path, data in held.items() if path.endswith(".skops")))
    sources = collect(names)
    if not sources.files:
        raise BadInputError(
            "code-without-source",
            f"{predict.__module__} is no module of the project",
            why="only source files of the project go into a package",
            fix="wrap it in a function of a module of your own",
        )
    description = {
        "predict": f"{predict.__module__}:{predict.__qualname__}",
        "state": state,
        "modules": sorted(_own(names, sources)),
    }
    needed = {"skops", "sklearn"} if any(path.endswith(".skops") for path in held) else set[str]()
    return _files(description, held, sources, probe, frozenset(needed) | _packages(names))


def _files(description: dict[str, Any], held: dict[str, bytes], sources: Sources, probe: Probe, needed: frozenset[str]) -> Packed:
    files = {f"state/{path}": data for path, data in held.items()} | {
        f"code/{path}": data for path, data in sources.files.items()
    }
    files[_DESCRIPTION] = json.dumps(description, sort_keys=True, indent=1, allow_nan=False).encode()
    return Packed(files, None, frozenset(probe.missing), needed | sources.requires)


def _own(names: set[str] | frozenset[str], sources: Sources) -> set[str]:
    """Those of the modules that are among the source files."""
    tops = {path.partition("/")[0].removesuffix(".py") for path in sources.files}
    return {name for name in names if name.partition(".")[0] in tops}


def _packages(names: set[str] | frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if place_of(name, None) is Place.PACKAGE)


def _kept(name: str, value: Any, held: dict[str, bytes]) -> dict[str, Any]:
    """How one value of the state is written: a file in ``held``, or JSON."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        out = io.BytesIO()
        np.lib.format.write_array(out, np.ascontiguousarray(value), allow_pickle=False)
        held[f"{name}.npy"] = out.getvalue()
        return {"array": f"{name}.npy"}
    if isinstance(value, Path):
        path = f"{name}/{value.name}"
        held[path] = value.read_bytes()
        return {"file": path}
    if hasattr(value, "get_params") or hasattr(value, "__sklearn_tags__"):
        held[f"{name}.skops"] = written(value)
        return {"estimator": f"{name}.skops"}
    try:
        again: Any = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        again = None
    if again != value:  # also where a tuple would come back as a list
        raise BadInputError(
            "state-not-kept",
            f"{name!r} of the model's state cannot be kept: it is a {type(value).__name__}",
            why="a state holds arrays, estimators of scikit-learn, files, and what JSON gives back as it was; nothing is pickled",
            fix="give its arrays and settings, and build it from them in the model's class",
        )
    return {"value": value}


def _loaded(description: Any, code: IsolatedCode, root: Path, manifest: Manifest) -> PythonPredictor:
    own: list[str] = list(description["modules"])
    for name in own:
        code.module(name)
    task = task_of(manifest)
    if "estimator" in description:
        estimator = _restored(root / "state" / check_path(description["estimator"]), code, own)
        native = native_model(estimator, task, manifest.signature.inputs, manifest.classes)
        return PythonPredictor(manifest.signature, native.predict)
    module, _, name = str(description["predict"]).partition(":")
    state = {name: _read(how, root / "state", code, own) for name, how in description["state"].items()}
    call = _callable(getattr(code.module(module), name), state)
    return PythonPredictor(manifest.signature, lambda columns: _asked(call, task, manifest.classes, columns))


def _read(how: dict[str, Any], folder: Path, code: IsolatedCode, own: Sequence[str]) -> Any:
    if "value" in how:
        return how["value"]
    kind, path = next(iter(how.items()))
    place = folder / check_path(path)
    if kind == "array":
        return np.load(place, allow_pickle=False)
    return place if kind == "file" else _restored(place, code, own)


def _restored(path: Path, code: IsolatedCode, own: Sequence[str]) -> Any:
    """An estimator whose types are those of the isolated modules, where they came with the package."""
    try:
        import skops.io as library
    except ImportError:
        raise missing_extra("serving", "skops", "an estimator of scikit-learn") from None

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(item) for item in node]
        if not isinstance(node, dict):
            return node
        found = {key: renamed(value) for key, value in node.items()}
        if found.get("__module__") in own:
            found["__module__"] = f"{code.prefix}.{found['__module__']}"
        return found

    out = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, json.dumps(renamed(json.loads(data))) if name == "schema.json" else data)
    data = out.getvalue()
    return library.loads(data, trusted=library.get_untrusted_types(data=data))


def _callable(predict: Any, state: dict[str, Any]) -> Callable[[Columns], Any]:
    if isinstance(predict, type):
        model: Any = predict(**state)
        return model if callable(model) else model.predict
    return lambda rows: predict(rows, **state)


def _asked(call: Callable[[Columns], Any], task: Task, classes: list[str], columns: Columns) -> Columns:
    try:
        answers = np.asarray(call(dict(columns)))
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(
            "model-refused-input",
            "the model refused these rows",
            why=f"{type(error).__name__}: {str(error)[:300]}",
            fix="send values like those it was made for",
        ) from None
    return refuse_nan(given_outputs(task, answers, len(classes), len(next(iter(columns.values())))))


def _forget(code: IsolatedCode, folder: tempfile.TemporaryDirectory[str]) -> None:
    code.forget()
    folder.cleanup()

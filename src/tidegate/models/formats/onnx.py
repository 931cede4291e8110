"""ONNX: models that come as a graph, and estimators compiled to one, run by ONNX Runtime on one thread.

A compiled graph is only accepted if it gives the native model's answers on real rows, including rows with missing values and
unknown text. It is tried in single precision first
(which every operator has), then in double.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.errors import BadInputError, IntegrityError, missing_extra
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.devices import Device, placed, providers
from tidegate.models.disguise import pickle_in
from tidegate.models.estimator import NativeModel, side_by_side
from tidegate.models.formats.compiling import WritesOnnx, attempts, compiled
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, named_classes, task_of
from tidegate.models.outputs import VALUES, class_outputs, label_outputs, refuse_nan, value_outputs
from tidegate.models.signature import conform
from tidegate.records.model import Manifest, Parity, Signature, Tensor
from tidegate.records.policy import Task

TOLERANCE = 1e-5
"""Largest difference of a probability, and of a regression's answer relative to max(1, |answer|)."""

_FILE = "model.onnx"
_RUNTIME = frozenset({"onnxruntime"})


class OnnxFormat:
    """See ``Format``."""

    name = "onnx"
    loads_code = False
    preference = 10

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        graph = _given(candidate.estimator)
        return None if graph is None else GivenGraph(graph, candidate, inputs)

    def pack(self, native: Native, probe: Probe) -> Packed:
        if isinstance(native, GivenGraph):
            exact = Parity(rows=len(next(iter(probe.expected.values()))), largest_difference=0.0, tolerance=TOLERANCE, holds=True)
            return Packed({_FILE: native.estimator}, exact, frozenset(probe.missing), _RUNTIME)
        if not isinstance(native, NativeModel | WritesOnnx):
            raise CannotPackError(OTHER_LIBRARY, "nothing converts this to ONNX")
        reasons: list[str] = []
        for layout, precision in attempts(native):
            try:
                graph = compiled(native, layout=layout, precision=precision)
                session = _Session(graph, native.task, native.inputs, native.class_names)
                parity = _compare(native.task, session.run(probe.rows), probe.expected)
                if parity.holds:
                    _refuses_the_same(session, probe)
                    return Packed({_FILE: graph}, parity, _agrees_when_missing(session, native.task, probe), _RUNTIME)
                difference, allowed = f"{parity.largest_difference:.3g}", f"{parity.tolerance:g}"
                reasons.append(f"it differs from the native model by {difference} on {parity.rows} rows, {allowed} is allowed")
            except CannotPackError as error:
                reasons.append(error.why)
            except Exception as error:  # noqa: BLE001 - converters and the runtime raise whatever they like; it means "not this way"
                first = (str(error).strip().splitlines() or [""])[0]
                reasons.append(f"it cannot be converted ({type(error).__name__}: {first[:200]})")
        raise CannotPackError(
            "not-onnx", "the model cannot be kept as ONNX", why=reasons[0], fix="it is kept in its native format"
        )

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> OnnxPredictor:
        return self.load_on(files, manifest, "cpu")

    def load_on(self, files: Mapping[str, bytes], manifest: Manifest, device: Device) -> OnnxPredictor:
        if _FILE not in files:
            raise IntegrityError("broken-package", f"{manifest.ref} holds no {_FILE}", fix="register the model again")
        try:
            session = _Session(files[_FILE], task_of(manifest), manifest.signature.inputs, manifest.classes, device)
        except (RuntimeError, ValueError) as error:
            raise IntegrityError(
                "broken-package",
                f"{_FILE} of {manifest.ref} is no ONNX model that this runtime reads",
                why=str(error).splitlines()[0][:200],
                fix="register the model again, or install a newer onnxruntime",
            ) from None
        return OnnxPredictor(manifest.signature, session)


class GivenGraph:
    """A model that comes as ONNX: see ``Native``. Its inputs are named as the example's columns, or it takes one matrix of them."""

    def __init__(self, graph: bytes, candidate: Candidate, inputs: list[Tensor]) -> None:
        self.estimator = graph
        self.task: Task = candidate.task
        self.inputs = inputs
        self.class_names = named_classes(candidate)
        try:
            self._session = _Session(graph, self.task, inputs, self.class_names)
        except (RuntimeError, ValueError, KeyError) as error:
            raise BadInputError(
                "bad-graph",
                "this ONNX model cannot be used with these example rows",
                why=(str(error).strip().splitlines() or ["it holds no graph"])[0][:300],
                fix="name the graph's inputs as the example's columns, or let it take one matrix",
            ) from None

    def predict(self, columns: Columns) -> Columns:
        return refuse_nan(self._session.run(columns))


class OnnxPredictor:
    """See ``Predictor``."""

    def __init__(self, signature: Signature, session: _Session) -> None:
        self.signature = signature
        self.placed = session.placed
        """Where it computes."""
        self._session = session

    def predict(self, columns: Mapping[str, object]) -> Columns:
        return refuse_nan(self._session.run(conform(self.signature, columns)))


class _Session:
    """A graph with one way in: columns of the signature to tensors of the graph, and its outputs by the task's names."""

    def __init__(self, graph: bytes, task: Task, inputs: list[Tensor], classes: list[str], device: Device = "cpu") -> None:
        runtime = _runtime()
        options: Any = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would log is raised as well
        # A graph may name files for its weights, which would be read from the working directory: here all of a package is in its bytes.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        available: list[str] = runtime.get_available_providers()
        self._session: Any = _runtime_errors(
            runtime, lambda: runtime.InferenceSession(graph, options, providers=providers(device, available))
        )
        self.placed = placed(device, available, self._session.get_providers())
        self._task: Task = task
        # Converters give whole-number classes as they are and booleans as 0 and 1; both mostly are the index already.
        numbered = [name.removeprefix("-").isdigit() for name in classes]
        self._index = {
            (int(name) if number else name): place for place, (name, number) in enumerate(zip(classes, numbered, strict=True))
        }
        self._labels_are_indexes = list(self._index) == list(range(len(classes))) or classes == ["False", "True"]
        self._names = [tensor.name for tensor in inputs]
        wanted: dict[str, Any] = {node.name: _NUMPY[node.type] for node in self._session.get_inputs()}
        only = next(iter(wanted)) if len(wanted) == 1 else ""
        self._matrix = only if only and [tensor.name for tensor in inputs] != [only] else ""
        self._kind = wanted.get(self._matrix)
        self._wanted = [] if self._matrix else [(tensor, wanted[tensor.name]) for tensor in inputs]
        self._run = self._session.run

    def run(self, columns: Columns) -> Columns:
        """The task's outputs; ``columns`` conform to the signature."""
        try:
            with np.errstate(
                over="raise"
            ):  # a graph may take narrower numbers than its signature: none becomes infinite on the way
                feed = self._feed(columns)
        except FloatingPointError:
            raise BadInputError(
                "model-refused-input", "a number is too large for the model", why="it counts in 32 bits", fix="check its unit"
            ) from None
        try:
            answers: list[Any] = self._run(None, feed)
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):
                raise BadInputError(
                    "model-refused-input",
                    "the model refused these rows",
                    why=str(error).splitlines()[0][:300],
                    fix="send values like those it was trained on",
                ) from None
            raise
        if self._task in VALUES:
            return value_outputs(self._task, answers[0])
        if self._task == "multilabel":
            shares = side_by_side(answers[-1])
            return label_outputs(shares, answers[0] if len(answers) > 1 else shares > 0.5)
        if len(answers) > 1:
            return class_outputs(self._task, answers[1], self._labels(answers[0]))
        return class_outputs(self._task, *_decided(answers[0]))

    def _feed(self, columns: Columns) -> dict[str, Any]:
        if not self._matrix:
            return {tensor.name: _fed(columns[tensor.name], kind) for tensor, kind in self._wanted}
        parts = [columns[name] for name in self._names]
        matrix = parts[0].reshape(len(parts[0]), -1) if len(parts) == 1 else np.column_stack(parts)
        return {self._matrix: matrix.astype(self._kind, copy=False)}

    def _labels(self, found: Any) -> Any:
        if self._labels_are_indexes:
            return found.reshape(-1).astype(np.int64, copy=False)
        return np.array([self._index[value] for value in found.reshape(-1).tolist()], dtype=np.int64)


def _decided(shares: Any) -> tuple[Any, Any]:
    """Probabilities of all classes and the likelier one, where a graph gives probabilities alone: of all classes, or of the second."""
    shares = shares.reshape(len(shares), -1)
    if shares.shape[1] == 1:
        shares = np.column_stack([1 - shares, shares])
    return shares, shares.argmax(axis=1)


def _given(estimator: Any) -> bytes | None:
    """The bytes of a graph, if that is what the candidate brings: a ``ModelProto`` or a file's path."""
    if isinstance(estimator, Path):
        data = estimator.read_bytes() if estimator.suffix == ".onnx" and estimator.is_file() else b""
        return data if data and not pickle_in(data) else None
    if type(estimator).__name__ == "ModelProto":
        return bytes(estimator.SerializeToString(deterministic=True))
    return None


_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def _fed(values: Any, kind: Any) -> Any:
    values = values.reshape(len(values), -1)
    if kind is object:
        # ONNX has no missing text: it goes in as an empty one, and parity was checked with exactly that.
        return np.array([[value or "" for value in row] for row in values.tolist()], dtype=object).reshape(values.shape)
    return values.astype(kind, copy=False)


def _compare(task: Task, found: Columns, expected: Columns) -> Parity:
    name = next(iter(expected))
    ours, theirs = found[name].astype(np.float64), expected[name].astype(np.float64)
    scale = np.maximum(1.0, np.abs(theirs)) if task in VALUES else 1.0
    difference = np.abs(ours - theirs) / scale
    largest = float(difference.max()) if difference.size else float("nan")
    holds = bool(ours.shape == theirs.shape and largest <= TOLERANCE)  # NaN compares false: no parity
    if holds and "label" in expected:
        # A label may flip where the best two classes are closer than the tolerance; anywhere else it must agree.
        shares = expected[name].astype(np.float64)
        best = np.sort(shares if shares.ndim == 2 else np.column_stack([1 - shares, shares]), axis=1)
        clear = best[:, -1] - best[:, -2] > 2 * TOLERANCE
        holds = bool((found["label"] == expected["label"])[clear].all())
    return Parity(rows=len(theirs), largest_difference=largest, tolerance=TOLERANCE, holds=holds)


def _refuses_the_same(session: _Session, probe: Probe) -> None:
    for reason, rows in probe.refused:
        try:
            session.run(rows)
        except BadInputError:
            continue
        raise CannotPackError(
            "not-onnx",
            "the compiled model answers what the native one refuses",
            why=f"it would answer {reason}, which the native model refuses",
            fix="let the estimator ignore it (handle_unknown), or serve it natively",
        )


def _agrees_when_missing(session: _Session, task: Task, probe: Probe) -> frozenset[str]:
    """The inputs that may be missing: converters forget the rule for a value that no training row missed."""
    agreeing: set[str] = set()
    for name, (rows, expected) in probe.missing.items():
        try:
            if _compare(task, session.run(rows), expected).holds:
                agreeing.add(name)
        except BadInputError:
            pass
    forgotten = sorted(probe.needed - agreeing)
    if forgotten:
        raise CannotPackError(
            "not-onnx",
            "the compiled model treats missing values otherwise",
            why=f"it answers otherwise where {forgotten[0]!r} is missing",
            fix="it is kept in its native format",
        )
    return frozenset(agreeing)


def _runtime() -> Any:
    # Its builds tell Microsoft what they run, unless this is set before they are loaded: nothing is sent anywhere from here.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("serving", "onnxruntime", "a model in ONNX") from None
    return onnxruntime


def _runtime_errors(runtime: Any, make: Any) -> Any:
    """ONNX Runtime's own exception types as RuntimeError: they share no parent but Exception."""
    try:
        return make()
    except Exception as error:
        if type(error).__module__.startswith(runtime.__name__):
            raise RuntimeError(str(error)) from None
        raise

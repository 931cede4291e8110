"""PyTorch: weights as safetensors, and the exported program as a list of ATen operators in JSON, which runs without the model's code.

``torch.export.load`` unpickles (torch 2.13: weights with ``weights_only=False``, constants with ``pickle.loads``) and evaluates shapes
as text, so it is not used: the program that ``torch.export.export`` gives is a flat graph of ATen operators, and that graph is kept as
plain data. Loading looks up operators by name in ``torch.ops.aten``, nothing else.

Source: https://docs.pytorch.org/docs/2.13/export/ir_spec.html (placeholders, call_function nodes, one output).
"""

from __future__ import annotations

import copy
import logging
import math
import operator
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import digest as digests
from tidegate.errors import BadInputError, IntegrityError, UnavailableError, missing_extra
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.formats.compiling import MATRIX
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, named_classes, task_of
from tidegate.models.outputs import given_outputs, refuse_nan
from tidegate.models.signature import conform
from tidegate.records.model import Manifest, Signature, Tensor
from tidegate.records.policy import Task

_WEIGHTS, _PROGRAM = "model.safetensors", "program.json"
_ON_SHAPES = {"add", "eq", "floordiv", "ge", "getitem", "gt", "le", "lt", "mod", "mul", "ne", "neg", "pow", "sub"}
"""Functions of the module ``operator`` that a graph uses for sizes, and to take one of several results."""
_FILES = {"from_file"}
"""Operators that read or write files."""
_OPSET = 18


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call: the result's name, the operator (``aten.view.default``), and what it is given."""

    name: str
    op: str
    args: list[Any]
    kwargs: dict[str, Any] = {}


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exported program. ``tensors`` are names of nodes that are weights, with their names in the file of weights."""

    torch: str
    kind: str
    """Type of the one matrix that it takes: ``float32`` or ``int64``."""
    input: str
    tensors: dict[str, str]
    nodes: list[Node]
    output: str


class TorchFormat:
    """See ``Format``. The module takes one matrix of all columns, and gives values or probabilities."""

    name = "torch"
    loads_code = False
    preference = 60

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        kinds = [kind.__module__ + "." + kind.__qualname__ for kind in type(candidate.estimator).__mro__]
        if "torch.nn.modules.module.Module" not in kinds or hasattr(candidate.estimator, "get_params"):
            return None
        if any(tensor.dtype == "string" for tensor in inputs):
            raise BadInputError(
                "bad-input-type",
                "a module of PyTorch takes numbers, and the example has text",
                why="all columns become one matrix",
                fix="encode it before (PythonModel), or package a folder of Transformers",
            )
        return TorchNative(candidate, inputs)

    def pack(self, native: Native, probe: Probe) -> Packed:
        if not isinstance(native, TorchNative):
            raise CannotPackError(OTHER_LIBRARY, "this is no module of PyTorch")
        program, weights = native.exported()
        run = _Run(program, weights)
        for rows in (1, len(next(iter(probe.expected.values())))):
            head = {name: values[:rows] for name, values in probe.rows.items()}
            answers = given_outputs(native.task, run(native.matrix(head)), len(native.class_names), rows)
            if not all(
                np.allclose(answers[name], values[:rows], rtol=1e-5, atol=1e-6) for name, values in probe.expected.items()
            ):
                raise CannotPackError(
                    "not-torch",
                    "the exported program does not answer as the module",
                    why="its answers differ: the module depends on something that is no input, most likely",
                    fix="see that module.eval() gives the same answer twice",
                )
        files = {_WEIGHTS: _library("safetensors.torch").save(weights), _PROGRAM: msgspec.json.encode(program)}
        return Packed(files, None, frozenset(probe.missing), frozenset({"torch", "safetensors"}))

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> TorchPredictor:
        missing = next((path for path in (_WEIGHTS, _PROGRAM) if path not in files), "")
        if missing:
            raise IntegrityError("broken-package", f"{manifest.ref} holds no {missing}", fix="register the model again")
        weights = _library("safetensors.torch")
        try:
            program = digests.parsed(files[_PROGRAM], Program)
            run = _Run(program, weights.load(files[_WEIGHTS]))
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - safetensors raises its own types; it means that these are not its bytes
            raise IntegrityError(
                "broken-package",
                f"{manifest.ref} is no program that this PyTorch reads",
                why=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
                fix="register the model again, or install the versions in its requirements",
            ) from None
        return TorchPredictor(manifest, run)


class TorchNative:
    """A module in evaluation mode: see ``Native``."""

    def __init__(self, candidate: Candidate, inputs: list[Tensor]) -> None:
        self.estimator = copy.deepcopy(candidate.estimator).eval().cpu()
        self.task: Task = candidate.task
        self.inputs = inputs
        self.class_names = named_classes(candidate)
        self._kind = _kind(inputs)

    def predict(self, columns: Columns) -> Columns:
        torch = _library("torch")
        try:
            with torch.inference_mode():
                answers = self.estimator(torch.from_numpy(self.matrix(columns)))
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise _refused(error) from None
        if not isinstance(answers, torch.Tensor):
            raise BadInputError(
                "wrong-output",
                f"the module answers with a {type(answers).__name__}",
                why="a package's module gives one tensor",
                fix="wrap it in a module whose forward returns the values or probabilities alone",
            )
        return refuse_nan(given_outputs(self.task, answers.numpy(), len(self.class_names), len(next(iter(columns.values())))))

    def matrix(self, columns: Columns) -> NDArray[Any]:
        """All columns side by side, as the module takes them."""
        return _matrix(self.inputs, columns, self._kind)

    def exported(self) -> tuple[Program, dict[str, Any]]:
        """The program and its weights.

        Raises:
            CannotPackError: it cannot be exported for any number of rows.
        """
        program = self._export().run_decompositions({})
        return _written(program, str(_library("torch").__version__), self._kind)

    def as_onnx(self) -> bytes:
        """The program as an ONNX graph. Whatever the exporter raises means that it cannot be converted."""
        torch = _library("torch")
        try:
            import_module("onnxscript")
        except ImportError:
            raise CannotPackError(
                "not-onnx", "onnxscript is not installed", why="onnxscript is not installed", fix="pip install onnxscript"
            ) from None
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder, _quiet("torch.onnx"):
            path = Path(folder) / "model.onnx"
            written = torch.onnx.export(
                self._export(), dynamo=True, opset_version=_OPSET, input_names=[MATRIX], output_names=["answers"], verbose=False
            )
            written.save(str(path), external_data=False)
            return _without_traces(path.read_bytes())

    def _export(self) -> Any:
        torch = _library("torch")
        width = sum(tensor.shape[1] for tensor in self.inputs)
        example = torch.zeros((3, width), dtype=getattr(torch, self._kind))
        try:
            return torch.export.export(self.estimator, (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
        except Exception as error:  # noqa: BLE001 - the exporter raises whatever it likes; it means "not this module"
            raise CannotPackError(
                "not-torch",
                "the module cannot be exported",
                why=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}",
                fix="let forward do the same for any rows, without branches on values; torch.export.export tells where it fails",
            ) from None


class TorchPredictor:
    """See ``Predictor``."""

    def __init__(self, manifest: Manifest, run: _Run) -> None:
        self.signature: Signature = manifest.signature
        self._task: Task = task_of(manifest)
        self._classes = len(manifest.classes)
        self._run = run

    def predict(self, columns: Mapping[str, object]) -> Columns:
        rows = conform(self.signature, columns)
        matrix = _matrix(self.signature.inputs, rows, self._run.kind)
        try:
            answers = self._run(matrix)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise _refused(error) from None
        return refuse_nan(given_outputs(self._task, answers, self._classes, len(matrix)))


class _Run:
    """A program with its operators looked up. Results are dropped after their last use."""

    def __init__(self, program: Program, weights: Mapping[str, Any]) -> None:
        self._torch = _library("torch")
        self.kind = program.kind
        self._program = program
        self._weights = {name: weights[file] for name, file in program.tensors.items()}
        self._calls = [(node, self._found(node.op)) for node in program.nodes]
        last: dict[str, str] = {}
        for node in program.nodes:
            last |= dict.fromkeys(_named([node.args, list(node.kwargs.values())]), node.name)
        self._drop: dict[str, list[str]] = {}
        for name, user in last.items():
            if name != program.output and name not in self._weights:
                self._drop.setdefault(user, []).append(name)

    def __call__(self, matrix: NDArray[Any]) -> NDArray[Any]:
        known: dict[str, Any] = {**self._weights, self._program.input: self._torch.from_numpy(matrix)}
        with self._torch.inference_mode():
            for node, call in self._calls:
                kwargs = {name: self._read(value, known) for name, value in node.kwargs.items()}
                known[node.name] = call(*self._read(node.args, known), **kwargs)
                for name in self._drop.get(node.name, ()):
                    del known[name]
        return known[self._program.output].numpy()

    def _found(self, op: str) -> Callable[..., Any]:
        kind, _, name = op.partition(".")
        if kind == "operator" and name in _ON_SHAPES:
            return getattr(operator, name)
        name, _, overload = name.partition(".")
        if kind != "aten" or name in _FILES or not name.isidentifier() or not overload.isidentifier():
            raise ValueError(f"the program calls {op!r}, which is no operator of a model")
        found = getattr(getattr(self._torch.ops.aten, name), overload)
        # Names of Python's own ("__init__", "__getattribute__") lead from any object to everything: only operators are called.
        if not isinstance(found, _library("torch._ops").OpOverload) or found.namespace != "aten":
            raise ValueError(f"the program calls {op!r}, which is no operator of a model")
        return found

    def _read(self, value: Any, known: Mapping[str, Any]) -> Any:
        if isinstance(value, list):
            return [self._read(item, known) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, text),) = value.items()
        if kind == "node":
            return known[text]
        if kind == "float":
            return float(text)
        if kind == "device":
            return self._torch.device("cpu")
        if kind in {"dtype", "layout", "memory_format"} and isinstance(
            found := getattr(self._torch, text), getattr(self._torch, kind)
        ):
            return found
        raise ValueError(f"the program holds {kind} {text}")


def _written(exported: Any, version: str, kind: str) -> tuple[Program, dict[str, Any]]:
    """An exported program as plain data, and its tensors by name."""
    held = {**exported.state_dict, **exported.constants}
    tensors: dict[str, str] = {}
    entry, out = "", ""
    for given in exported.graph_signature.input_specs:
        if given.kind.name == "USER_INPUT":
            entry = given.arg.name
        else:
            tensors[given.arg.name] = given.target
    for result in exported.graph_signature.output_specs:
        if result.kind.name != "USER_OUTPUT" or out:
            raise CannotPackError(
                "not-torch",
                "the module cannot be kept",
                why="it changes its own state, or gives several results",
                fix="use module.eval()",
            )
        out = result.arg.name
    nodes = [
        Node(node.name, _op(node), [_value(arg) for arg in node.args], {name: _value(arg) for name, arg in node.kwargs.items()})
        for node in exported.graph.nodes
        if node.op not in {"placeholder", "output"}
    ]
    weights = {name: held[name].detach().clone().contiguous() for name in sorted(set(tensors.values()))}
    return Program(version, kind, entry, tensors, nodes, out), weights


def _op(node: Any) -> str:
    name = str(node.target)
    if node.op == "call_function" and name.startswith("aten."):
        return name
    if node.op == "call_function" and getattr(operator, getattr(node.target, "__name__", ""), None) is node.target:
        return f"operator.{node.target.__name__}"
    raise CannotPackError(
        "not-torch",
        "the module cannot be kept as a program",
        why=f"it calls {name[:100]}, which is no ATen operator",
        fix="leave out what is no plain operator (control flow, operators of other packages)",
    )


def _value(value: Any) -> Any:
    torch = _library("torch")
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    for kind in ("dtype", "layout", "memory_format", "device"):
        if isinstance(value, getattr(torch, kind)):
            return {kind: str(value).removeprefix("torch.")}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CannotPackError(
        "not-torch", "the module cannot be kept as a program", why=f"it uses a {type(value).__name__}", fix="use plain values"
    )


def _named(value: Any) -> list[str]:
    """The results that arguments name."""
    if isinstance(value, list):
        return [name for item in value for name in _named(item)]
    return [value["node"]] if isinstance(value, dict) and "node" in value else []


def _kind(inputs: list[Tensor]) -> str:
    return "int64" if all(tensor.dtype.startswith("int") for tensor in inputs) else "float32"


def _matrix(inputs: list[Tensor], columns: Columns, kind: str) -> NDArray[Any]:
    parts = [columns[tensor.name].reshape(len(columns[tensor.name]), -1) for tensor in inputs]
    return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=kind)


@contextmanager
def _quiet(name: str) -> Generator[None]:
    """The exporter warns about packages that this model does not use."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _without_traces(graph: bytes) -> bytes:
    """The graph without names of source files and stack traces of the machine that exported it."""
    onnx = _library("onnx")
    model = onnx.load_model_from_string(graph)
    del model.metadata_props[:]
    model.graph.doc_string = ""
    for part in [
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
        *model.graph.initializer,
    ]:
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    return model.SerializeToString(deterministic=True)


def _refused(error: Exception) -> BadInputError:
    return BadInputError(
        "model-refused-input",
        "the model refused these rows",
        why=(str(error).strip().splitlines() or [type(error).__name__])[0][:300],
        fix="send values like those it was trained on",
    )


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise missing_extra("torch", name.partition(".")[0], "a model of PyTorch") from None

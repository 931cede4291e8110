"""Transformers: a folder with configuration, tokenizer and safetensors, asked through the library's own text classification.

No code of the folder runs: nothing is pickled (``*.bin``, ``*.pt``), no module of the folder is imported (``trust_remote_code``), and
nothing is fetched from a hub.

Source: https://huggingface.co/docs/transformers/main_classes/pipelines (TextClassificationPipeline), files of ``save_pretrained``.
"""

from __future__ import annotations

import copy
import json
import tempfile
import weakref
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.errors import BadInputError, IntegrityError, RefusedError, TidegateError, missing_extra
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, task_of
from tidegate.models.outputs import VALUES, given_outputs, refuse_nan
from tidegate.models.paths import check_path, write_files
from tidegate.models.signature import conform
from tidegate.records.model import Manifest, Signature, Tensor
from tidegate.records.policy import Task

_CONFIG = "config.json"
_KEPT = {".json", ".safetensors", ".txt", ".model", ".jinja"}
"""Endings of files that hold data and nothing else."""
_LEFT_OUT = {"training_args.bin", "README.md", ".gitattributes"}
_FUNCTIONS: dict[str, str] = {"multilabel": "sigmoid", "binary": "softmax", "multiclass": "softmax"}
_BATCH = 32


class TransformersFormat:
    """See ``Format``. The candidate is a folder's path, or a text-classification pipeline; its example has one column of text."""

    name = "transformers"
    loads_code = False
    preference = 70

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        given = candidate.estimator
        if isinstance(given, Path):
            if not (given / _CONFIG).is_file():
                return None
            files = read_folder(given)
        elif any(kind.__module__.startswith("transformers.pipelines.") for kind in type(given).__mro__):
            with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
                given.model.save_pretrained(folder)
                _unused(given.tokenizer).save_pretrained(folder)
                files = read_folder(Path(folder))
        else:
            return None
        if [tensor.dtype for tensor in inputs] != ["string"]:
            raise BadInputError(
                "bad-input-type",
                "a model of Transformers takes one column of text",
                why=f"the example has {', '.join(f'{tensor.name} ({tensor.dtype})' for tensor in inputs)}",
                fix="give example rows with one text column, or wrap the model in a PythonModel",
            )
        return TransformersNative(files, candidate.task, inputs)

    def pack(self, native: Native, probe: Probe) -> Packed:
        if not isinstance(native, TransformersNative):
            raise CannotPackError(OTHER_LIBRARY, "this is no model of Transformers")
        return Packed(native.estimator, None, frozenset(probe.missing), frozenset({"transformers", "torch", "safetensors"}))

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> TransformersPredictor:
        try:
            check_files(files)
            texts = _Texts(files, task_of(manifest))
        except TidegateError:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises whatever it likes at files that are not its own
            raise IntegrityError(
                "broken-package",
                f"{manifest.ref} is no folder that this Transformers reads",
                why=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}",
                fix="register the model again, or install the versions in its requirements",
            ) from None
        if task_of(manifest) not in VALUES and texts.classes != manifest.classes:
            raise IntegrityError(
                "broken-package", f"{manifest.ref} has other classes than its manifest", fix="register the model again"
            )
        return TransformersPredictor(manifest.signature, texts)


class TransformersNative:
    """A folder that was read, and its pipeline: see ``Native``."""

    def __init__(self, files: dict[str, bytes], task: Task, inputs: list[Tensor]) -> None:
        self.estimator = files
        self.task: Task = task
        self.inputs = inputs
        self._texts = _Texts(files, task)
        self.class_names = [] if task in VALUES else self._texts.classes

    def predict(self, columns: Columns) -> Columns:
        return refuse_nan(self._texts.answers(columns[self.inputs[0].name]))


class TransformersPredictor:
    """See ``Predictor``."""

    def __init__(self, signature: Signature, texts: _Texts) -> None:
        self.signature = signature
        self._texts = texts

    def predict(self, columns: Mapping[str, object]) -> Columns:
        rows = conform(self.signature, columns)
        return refuse_nan(self._texts.answers(rows[self.signature.inputs[0].name]))


class _Texts:
    """The library's own pipeline from text to scores, built from files alone."""

    def __init__(self, files: Mapping[str, bytes], task: Task) -> None:
        library = _library()
        folder = tempfile.TemporaryDirectory(prefix="tidegate-transformers-")
        weakref.finalize(self, folder.cleanup)  # the tokenizers of some models read their files later
        write_files(Path(folder.name), files)
        only: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        library.utils.logging.disable_progress_bar()
        model: Any = library.AutoModelForSequenceClassification.from_pretrained(folder.name, use_safetensors=True, **only)
        tokenizer: Any = library.AutoTokenizer.from_pretrained(folder.name, **only)
        self._task: Task = task
        names: dict[int, str] = model.config.id2label
        self.classes = [str(names[place]) for place in sorted(names)]
        self._pipeline: Any = library.TextClassificationPipeline(model=model.eval(), tokenizer=tokenizer, device="cpu")

    def answers(self, texts: Any) -> Columns:
        """The task's outputs. A missing text is refused."""
        given: list[Any] = texts.reshape(-1).tolist()
        if any(text is None for text in given):
            raise BadInputError("model-refused-input", "the model refused these rows", why="a text is missing", fix="send a text")
        function = _FUNCTIONS.get(self._task, "none")
        found = self._pipeline(given, top_k=None, function_to_apply=function, truncation=True, batch_size=_BATCH)
        scores = np.array([[row[name] for name in self.classes] for row in map(_by_label, found)], dtype=np.float64)
        return given_outputs(self._task, scores, len(self.classes), len(given))


def _unused(tokenizer: Any) -> Any:
    """A tokenizer as it was before it was used: the library keeps the padding and truncation of the last call in it."""
    tokenizer = copy.deepcopy(tokenizer)
    fast: Any = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        fast.no_padding()
        fast.no_truncation()
    return tokenizer


def _by_label(scores: list[dict[str, Any]]) -> dict[str, float]:
    return {str(each["label"]): float(each["score"]) for each in scores}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a model's folder.

    Raises:
        RefusedError: it holds code, or weights that are pickled.
    """
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in _LEFT_OUT
        and not path.relative_to(folder).parts[0].startswith((".", "checkpoint-"))
    }
    check_files(files)
    return files


def check_files(files: Mapping[str, bytes]) -> None:
    """Nothing, if these are data alone.

    Raises:
        RefusedError: a file is code or pickled, or the configuration asks for code of the folder.
        IntegrityError: there are no configuration and weights.
    """
    for path in files:
        check_path(path)
        if Path(path).suffix not in _KEPT:
            raise RefusedError(
                "code-in-folder",
                f"{path} of this model of Transformers is neither data nor safetensors",
                why="pickled weights and modules run code when they are loaded",
                fix="save it again with save_pretrained, which writes safetensors, and leave out what does not belong to the model",
            )
    if _CONFIG not in files or not any(path.endswith(".safetensors") for path in files):
        raise IntegrityError(
            "broken-package", f"the folder holds no {_CONFIG}, or no safetensors", fix="save it again with save_pretrained"
        )
    for path, data in files.items():
        if path.endswith("config.json") and _asks_for_code(data):
            raise RefusedError(
                "code-in-folder",
                f"{path} asks for code that the library does not have (auto_map, or a kernel of a hub)",
                why="trust_remote_code is never given, and nothing is fetched",
                fix="use an architecture that Transformers itself has, or bring the code as a PythonModel",
            )


def _asks_for_code(data: bytes) -> bool:
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return False  # whoever reads it next says what is wrong with it
    return isinstance(found, dict) and ("auto_map" in found or "custom_pipelines" in found or _names_kernel(found))


def _names_kernel(config: Any) -> bool:
    """Whether a configuration names a repository of compiled kernels, as ``attn_implementation = "kernels-community/..."`` does."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if any(key.endswith("_implementation") and "/" in json.dumps(given) for key, given in value.items()):
                return True
    return False


def _library() -> Any:
    try:
        import_module("torch")
        return import_module("transformers")
    except ImportError as error:
        raise missing_extra("transformers", error.name or "transformers", "a model of Transformers") from None

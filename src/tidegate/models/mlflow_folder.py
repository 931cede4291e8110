"""Packages as folders of MLflow, and folders of MLflow as packages.

    MLmodel             two flavors at most: python_function (loaded by ``tidegate.models.pyfunc``) and, of an ONNX package, onnx
    requirements.txt    what the package needs, and Tidegate
    package/            the package as ``tidegate model pull`` writes it

Source: https://mlflow.org/docs/latest/ml/model/ (storage format, model signature).
"""

from __future__ import annotations

import json
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import yaml

from tidegate.clock import from_us
from tidegate.errors import BadInputError, NotFoundError
from tidegate.models.folder import new_folder, write_folder
from tidegate.models.formats.mlflow import DESCRIPTION
from tidegate.models.paths import check_path, write_files
from tidegate.models.signing import FILES
from tidegate.records.model import ModelVersion, Tensor
from tidegate.store.ports import Bucket

_PACKAGE = "package"
_COLUMNS = {
    "bool": "boolean",
    "int32": "integer",
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "string": "string",
}
MAX_BYTES = 10 * 1024**3
"""Of a folder that is imported."""


def export_mlflow(bucket: Bucket, version: ModelVersion, folder: Path) -> list[str]:
    """Writes a version as a folder that ``mlflow.pyfunc.load_model`` loads where Tidegate is installed; returns its flavors.

    A package in ONNX has the flavor ``onnx`` too: ``mlflow.onnx.load_model`` gives its graph without Tidegate.

    Raises:
        ConflictError: the folder is not empty.
        IntegrityError: a file was changed.
        UnavailableError: the folder cannot be written.
    """
    manifest = version.manifest
    described = describe(version)
    lines = [*manifest.requirements, f"tidegate=={installed_version('tidegate')}"]
    with new_folder(folder) as part:
        write_folder(bucket, version, part / _PACKAGE)
        write_files(part, {
            DESCRIPTION: yaml.safe_dump(described, sort_keys=True).encode(),
            "requirements.txt": "".join(f"{line}\n" for line in sorted(lines)).encode(),
        })  # fmt: skip
    return sorted(described["flavors"])


def describe(version: ModelVersion) -> dict[str, Any]:
    """The contents of an ``MLmodel`` file for a version."""
    manifest = version.manifest
    packed = {line.partition("==")[0]: line.partition("==")[2] for line in manifest.requirements}
    flavors: dict[str, Any] = {
        "python_function": {
            "loader_module": "tidegate.models.pyfunc",
            "data": _PACKAGE,
            "env": {"virtualenv": "requirements.txt"},
            "python_version": manifest.python or "3.11.0",
        }
    }
    if manifest.loads_code:
        flavors["python_function"]["config"] = {"allow_code": False}  # model_config={"allow_code": True} allows it
    if manifest.format == "onnx":
        onnx = manifest.lineage.packages.get("onnx", packed.get("onnx", ""))
        flavors["onnx"] = {
            "data": f"{_PACKAGE}/{FILES}/model.onnx",
            "onnx_version": onnx,
            "providers": ["CPUExecutionProvider"],
            "code": None,
        }
    described: dict[str, Any] = {
        "flavors": flavors,
        "utc_time_created": f"{from_us(manifest.created_at):%Y-%m-%d %H:%M:%S.%f}",
        "model_size_bytes": manifest.size,
        "metadata": {"tidegate.version": manifest.ref, "tidegate.digest": version.digest},
    }
    if manifest.signature.inputs:
        described["signature"] = {"inputs": _schema(manifest.signature.inputs), "outputs": None, "params": None}
    return described


def read_mlflow(folder: Path) -> dict[str, Path]:
    """The files of a folder that MLflow wrote, by their paths in it. Nothing is loaded.

    Raises:
        NotFoundError: there is no such folder, or no ``MLmodel`` in it.
        BadInputError: it is too large, or holds a link out of itself.
    """
    if not (folder / DESCRIPTION).is_file():
        raise NotFoundError(
            "not-a-model-folder",
            f"{folder} is no model of MLflow",
            why=f"it holds no {DESCRIPTION}",
            fix="give the folder that mlflow.<flavor>.save_model wrote, or the artifact folder of a logged model",
        )
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()
    }
    for path, file in files.items():
        check_path(path)
        if file.is_symlink():
            raise BadInputError(
                "path-outside", f"{path} is a link", why="what it points to is no part of the folder", fix="copy the file there"
            )
    size = sum(file.stat().st_size for file in files.values())
    if size > MAX_BYTES:
        raise BadInputError(
            "folder-too-large",
            f"{folder} has {size:,} bytes",
            why=f"at most {MAX_BYTES:,} are imported",
            fix="leave out what is no model",
        )
    return files


def _schema(tensors: list[Tensor]) -> str:
    """MLflow's JSON for inputs: columns, or one tensor for each where one is a matrix (both kinds together are none of its words)."""
    if all(tensor.shape == [-1, 1] for tensor in tensors):
        return json.dumps(
            [{"type": _COLUMNS[tensor.dtype], "name": tensor.name, "required": not tensor.nullable} for tensor in tensors]
        )
    names = {"string": "str", "bool": "bool"}
    return json.dumps(
        [
            {"type": "tensor", "tensor-spec": {"dtype": names.get(tensor.dtype, tensor.dtype), "shape": tensor.shape}}
            | ({"name": tensor.name} if len(tensors) > 1 else {})
            for tensor in tensors
        ]
    )

"""What a run captures about its surroundings, so that somebody can run the same thing again."""

from __future__ import annotations

import os
import platform
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.records.run import Environment
from tidegate.store.objects import put_object
from tidegate.store.ports import Bucket
from tidegate.tracking.code import CodeState, capture_code
from tidegate.tracking.hardware import gpus, memory_bytes, processor_count, processor_model
from tidegate.tracking.lock_files import find_lock_files
from tidegate.tracking.packages import installed_packages
from tidegate.tracking.redaction import redact_arguments, redact_file, redact_text

_VARIABLES = {
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF", "XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS", "MKL_CBWR",
    "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "LANG", "LC_ALL", "TZ",
    "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE",
    "SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_PROCID",
    "SLURM_NODEID", "SLURM_LOCALID", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_JOB_PARTITION",
    "SLURM_JOB_NODELIST", "SLURM_MEM_PER_NODE", "SLURM_RESTART_COUNT",
    "KUBERNETES_SERVICE_HOST", "CI", "GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_REF", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT",
    "GITHUB_WORKFLOW", "CI_PROJECT_PATH", "CI_COMMIT_SHA", "CI_COMMIT_REF_NAME", "CI_PIPELINE_ID", "CI_JOB_ID", "BUILD_NUMBER", "JOB_NAME",
}  # fmt: skip
"""What changes results or says where a run was. Nothing else is read: most secrets live in environment variables."""


def capture_environment(folder: Path, bucket: Bucket) -> Environment:
    """The environment of this process working on the project in ``folder``; its code and lock files go to ``bucket``.

    Never raises because of the surroundings: what could not be captured is empty, and ``patch_note`` says why.
    """
    folder = folder.absolute()
    code = capture_code(folder)
    patch_digest, note = _keep_patch(code, bucket)
    locks, lock_secrets = _keep_lock_files(folder, bucket)
    argv, argument_secrets = redact_arguments(sys.argv)
    versions, sources = installed_packages()
    devices = gpus()
    return Environment(
        argv=[_plain(argument) for argument in argv],
        directory=_plain(str(folder)),
        python=platform.python_version(),
        platform=platform.platform(),
        processors=processor_count(),
        memory_bytes=memory_bytes(),
        packages=versions,
        git_commit=code.commit,
        git_branch=_plain(code.branch),
        git_dirty=code.dirty,
        git_base=code.base,
        git_remote=_plain(code.remote),
        git_tree="" if note and not patch_digest else code.tree,
        git_hidden=list(code.hidden),
        patch_digest=patch_digest,
        patch_note=_plain(note),
        left_out=_shortened(code.left_out),
        redacted=_shortened([*code.redacted, *lock_secrets, *argument_secrets]),
        variables=captured_variables(os.environ),
        lock_files=locks,
        package_sources={name: _plain(source) for name, source in sources.items()},
        implementation=platform.python_implementation(),
        processor=processor_model(),
        gpus=devices.devices,
        gpu_driver=devices.driver,
        cuda=devices.cuda,
        seeds=visible_seeds(os.environ),
    )


def captured_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment variables that are on the list, without secrets."""
    return {key: _plain(redact_text(variables[key])[:500]) for key in sorted(_VARIABLES) if key in variables}


def visible_seeds(variables: Mapping[str, str]) -> dict[str, str]:
    """Seeds that can be seen from outside, by library. Libraries that the process has not imported are not imported."""
    readers = {"python hashes": lambda: variables.get("PYTHONHASHSEED", ""), "numpy": _numpy_seed, "torch": _torch_seed}
    seeds: dict[str, str] = {}
    for name, read in readers.items():
        try:
            seed = read()
        except Exception:  # noqa: BLE001 - other versions of somebody else's library must not stop a run
            seed = ""
        if seed and seed != "random":
            seeds[name] = seed
    return seeds


def _numpy_seed() -> str:
    """The seed of ``numpy.random.seed``, as long as nothing has been drawn.

    SOURCE: init_genrand of mt19937ar.c (Matsumoto and Nishimura 2002): the state begins with the seed itself, and each word
    follows from the one before. After the first draw the state says nothing about the seed.
    """
    random: Any = sys.modules.get("numpy.random")
    if random is None:
        return ""
    state = random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        return ""
    first, second = int(state["state"]["key"][0]), int(state["state"]["key"][1])
    expected = (1812433253 * (first ^ (first >> 30)) + 1) & 0xFFFFFFFF
    return str(first) if second == expected else ""


def _torch_seed() -> str:
    """PyTorch's seed, unless it is the one that every process begins with (SOURCE: c10/core/GeneratorImpl.h)."""
    torch: Any = sys.modules.get("torch")
    seed = int(torch.initial_seed()) if torch is not None else 67280421310721
    return "" if seed == 67280421310721 else str(seed)


def _keep_patch(code: CodeState, bucket: Bucket) -> tuple[str, str]:
    """(digest of the stored patch, note)."""
    if not code.patch:
        return "", code.note
    try:
        return put_object(bucket, _compressed(code.patch)), code.note
    except (TidegateError, OSError) as error:
        return "", f"the patch could not be stored: {error}"


def _compressed(patch: bytes) -> bytes:
    """Level 6 takes a third of a second for 10 MB; a patch of that size is mostly base64 that no level makes smaller."""
    return zlib.compress(patch, 6 if len(patch) < 1_000_000 else 1) if patch else b""


def _keep_lock_files(folder: Path, bucket: Bucket) -> tuple[dict[str, str], list[str]]:
    kept: dict[str, str] = {}
    told: list[str] = []
    top = next((place for place in [folder, *folder.parents] if os.path.lexists(place / ".git")), folder)
    for path in find_lock_files(folder, top):
        name = _plain(path.relative_to(top).as_posix())
        try:
            clean = redact_file(path.name, path.read_bytes())
            kept[name] = put_object(bucket, clean.data)
        except (TidegateError, OSError):
            continue
        told += [f"{name}:{finding.line} {finding.kind}" for finding in clean.findings]
    return kept, told


def _plain(text: str) -> str:
    """A text that can be stored: bytes that are no UTF-8, which Python holds as lone surrogates, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shortened(lines: Iterable[str], most: int = 200) -> list[str]:
    unique = list(dict.fromkeys(lines))
    return unique if len(unique) <= most else [*unique[:most], f"and {len(unique) - most} more"]

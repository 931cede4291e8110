"""The machine a run is on: processor, memory, GPUs with their driver. Nothing here is ever an error."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

_DRIVER = Path("/proc/driver/nvidia")


class Gpus(NamedTuple):
    """What NVIDIA's driver says: a line per GPU, its own version, and the newest CUDA that it can run."""

    devices: list[str]
    driver: str
    cuda: str


def processor_model() -> str:
    """The processor's name as Linux tells it."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def processor_count() -> int:
    """How many processors this process may use."""
    with contextlib.suppress(OSError, AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def memory_bytes() -> int:
    """The machine's memory; 0 where it cannot be told."""
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def gpus() -> Gpus:
    """The GPUs that NVIDIA's library sees (extra ``[gpu]``), or else those the driver's files tell of."""
    library = nvidia_library()
    if library is None:
        return _from_files()
    found: list[str] = []
    driver = cuda = ""
    with contextlib.suppress(Exception):
        driver = _text(library.nvmlSystemGetDriverVersion())
        number = int(library.nvmlSystemGetCudaDriverVersion())
        cuda = f"{number // 1000}.{number % 1000 // 10}"
        for index in range(library.nvmlDeviceGetCount()):
            device = library.nvmlDeviceGetHandleByIndex(index)
            memory = int(library.nvmlDeviceGetMemoryInfo(device).total)
            found.append(f"{_text(library.nvmlDeviceGetName(device))}, {memory / 2**30:.0f} GiB")
    return Gpus(found, driver, _torch_cuda() or cuda)


def nvidia_library() -> Any:
    """NVIDIA's management library, ready to be asked; None without it, or without a GPU."""
    if not _DRIVER.exists() and not Path("/dev/nvidiactl").exists() and "pynvml" not in sys.modules:
        return None  # Importing it and looking for the driver's library would only take time.
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - not installed, no driver, no rights: all of them mean that there is nothing to tell
        return None
    return pynvml


def _from_files() -> Gpus:
    devices: list[str] = []
    driver = ""
    with contextlib.suppress(OSError):
        for file in sorted(_DRIVER.glob("gpus/*/information")):
            found = re.search(r"^Model:\s*(.+)$", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
            devices += [found[1].strip()] if found else []
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", (_DRIVER / "version").read_text(encoding="utf-8", errors="replace"))
        driver = found[1] if found else ""
    return Gpus(devices, driver, _torch_cuda())


def _torch_cuda() -> str:
    """The CUDA that an imported PyTorch was built for: what the run uses, where the driver tells only what it could."""
    version = getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None)
    return version if isinstance(version, str) else ""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

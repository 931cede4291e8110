"""What the machine does while a run runs, as numbers for series: processor, memory, disk, network, GPUs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from tidegate.tracking.hardware import nvidia_library

MACHINE = "system/"
"""What the names of the machine's own series begin with."""
_MB = 1024 * 1024
_MOST_PROCESSES = 512


class SystemMetrics:
    """Samples the machine and the tree of processes below this one. For one thread; ``sample`` raises nothing.

    Percentages are of the time since the sample before; bytes of disk and network are counted from the start.
    """

    def __init__(self) -> None:
        self._process_times: dict[int, float] = {}
        self._machine: Any = None
        self._library: Any = None
        self._devices: list[Any] = []
        self._start: dict[str, float] = {}
        with contextlib.suppress(Exception):  # no /proc, a sandbox: then there are fewer numbers
            import psutil

            self._machine = psutil
            psutil.cpu_percent(interval=None)
            self._start = self._traffic()
        self._library = nvidia_library()
        if self._library is not None:
            with contextlib.suppress(Exception):
                self._devices = [
                    self._library.nvmlDeviceGetHandleByIndex(index) for index in range(self._library.nvmlDeviceGetCount())
                ]
        self._at = time.monotonic()
        self._processes()

    def sample(self) -> dict[str, float]:
        """The values of this moment, by metric name; what cannot be read is absent.

        ``system/cpu_percent`` and ``memory_percent`` are of the whole machine, ``process_cpu_percent`` (100 is one processor)
        and ``memory_mb`` (resident) of this process and its children. MB are 1024 * 1024 bytes. The Linux path takes about
        a millisecond.
        """
        values: dict[str, float] = {}
        for read in (self._of_machine, self._of_processes, self._of_gpus):
            with contextlib.suppress(Exception):
                values |= read()
        return values

    def _of_machine(self) -> dict[str, float]:
        if self._machine is None:
            return {}
        values = {
            "system/cpu_percent": float(self._machine.cpu_percent(interval=None)),
            "system/memory_percent": float(self._machine.virtual_memory().percent),
        }
        return values | {name: value - self._start.get(name, value) for name, value in self._traffic().items()}

    def _traffic(self) -> dict[str, float]:
        disk, network = self._machine.disk_io_counters(), self._machine.net_io_counters()
        values: dict[str, float] = {}
        if disk is not None:
            values |= {"system/disk_read_mb": disk.read_bytes / _MB, "system/disk_written_mb": disk.write_bytes / _MB}
        if network is not None:
            values |= {"system/network_received_mb": network.bytes_recv / _MB, "system/network_sent_mb": network.bytes_sent / _MB}
        return values

    def _of_processes(self) -> dict[str, float]:
        before, since = self._process_times, self._at
        memory = self._processes()
        used = sum(max(seconds - before.get(process, 0.0), 0.0) for process, seconds in self._process_times.items())
        passed = self._at - since
        share = {"system/process_cpu_percent": 100 * used / passed} if passed > 0.001 else {}
        return {"system/memory_mb": memory / _MB} | share

    def _processes(self) -> float:
        """Notes each process's processor seconds and returns the resident bytes of all of them."""
        self._process_times = {}
        resident = 0.0
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        for process in _tree(os.getpid()):
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name in brackets may hold anything; what comes after it are numbers. SOURCE: proc_pid_stat(5).
                words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                self._process_times[process] = (int(words[11]) + int(words[12])) / ticks
                resident += int(words[21]) * page
        self._at = time.monotonic()
        return resident

    def _of_gpus(self) -> dict[str, float]:
        values: dict[str, float] = {}
        library = self._library
        for index, device in enumerate(self._devices):
            readers = {
                "percent": lambda device=device: library.nvmlDeviceGetUtilizationRates(device).gpu,
                "memory_mb": lambda device=device: library.nvmlDeviceGetMemoryInfo(device).used / _MB,
                "power_w": lambda device=device: library.nvmlDeviceGetPowerUsage(device) / 1000,
                "temperature_c": lambda device=device: library.nvmlDeviceGetTemperature(device, library.NVML_TEMPERATURE_GPU),
            }
            for name, read in readers.items():
                with contextlib.suppress(Exception):  # a device without a power meter still has a temperature
                    values[f"system/gpu{index}_{name}"] = float(read())
        return values


def machine_last(metric: str) -> tuple[bool, str]:
    """Sorts metrics so that what the training logged comes before what the machine did."""
    return metric.startswith(MACHINE), metric


def _tree(process: int) -> list[int]:
    """A process and all below it, by the kernel's own lists: asking every process of the machine takes far longer."""
    found = [process]
    for parent in found:
        if len(found) >= _MOST_PROCESSES:
            break
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(OSError, ValueError):
                    children = (thread / "children").read_text(encoding="ascii").split()
                    found += [int(child) for child in children]
    return found

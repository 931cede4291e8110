"""System metrics are numbers within reason, cost little, and never raise."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tidegate.tracking import hardware
from tidegate.tracking.system_metrics import SystemMetrics


def test_a_sample_has_the_machine_and_the_process():
    metrics = SystemMetrics()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        sum(range(10_000))
    found = metrics.sample()
    assert 0 < found["system/memory_percent"] < 100
    assert 0 <= found["system/cpu_percent"] <= 100
    assert found["system/memory_mb"] > 10
    assert 10 < found["system/process_cpu_percent"] < 150
    assert found["system/network_sent_mb"] >= 0
    assert all(isinstance(value, float) for value in found.values())


def test_children_count():
    metrics = SystemMetrics()
    before = metrics.sample()["system/memory_mb"]
    child = subprocess.Popen(
        [sys.executable, "-c", "x = bytearray(80_000_000); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        child.stdout.readline()
        assert metrics.sample()["system/memory_mb"] > before + 75
    finally:
        child.communicate(b"\n")
    assert metrics.sample()["system/memory_mb"] < before + 40


class Library(SimpleNamespace):
    """Stands for NVIDIA's library on a machine with two GPUs, the second without a power meter."""

    NVML_TEMPERATURE_GPU = 0

    def nvmlInit(self):
        pass

    def nvmlSystemGetDriverVersion(self):
        return b"570.1"

    def nvmlSystemGetCudaDriverVersion(self):
        return 12080

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, device):
        return f"GPU {device}"

    def nvmlDeviceGetMemoryInfo(self, device):
        return SimpleNamespace(total=80 * 2**30, used=2**30)

    def nvmlDeviceGetUtilizationRates(self, device):
        return SimpleNamespace(gpu=50 + device)

    def nvmlDeviceGetPowerUsage(self, device):
        if device:
            raise RuntimeError("not supported")
        return 250_000

    def nvmlDeviceGetTemperature(self, device, kind):
        return 60


def test_gpus_are_read_and_one_that_cannot_do_everything_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Library())
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert hardware.gpus() == (["GPU 0, 80 GiB", "GPU 1, 80 GiB"], "570.1", "12.8")
    found = {name: value for name, value in SystemMetrics().sample().items() if "gpu" in name}
    assert found == {
        "system/gpu0_percent": 50.0,
        "system/gpu0_memory_mb": 1024.0,
        "system/gpu0_power_w": 250.0,
        "system/gpu0_temperature_c": 60.0,
        "system/gpu1_percent": 51.0,
        "system/gpu1_memory_mb": 1024.0,
        "system/gpu1_temperature_c": 60.0,
    }


def test_what_raises_is_left_out(monkeypatch):
    metrics = SystemMetrics()

    def fails(*_):
        raise RuntimeError("gone")

    monkeypatch.setattr(metrics, "_machine", SimpleNamespace(cpu_percent=fails))
    monkeypatch.setattr(metrics, "_devices", [0])
    assert set(metrics.sample()) - {"system/process_cpu_percent"} == {"system/memory_mb"}


def test_without_psutil_there_are_fewer_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert "system/memory_mb" in SystemMetrics().sample()


def test_the_drivers_files_tell_of_gpus_where_the_library_is_missing(tmp_path, monkeypatch):
    (tmp_path / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "gpus" / "0" / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 1\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Tue\n")
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda="12.8")))
    assert hardware.gpus() == (["NVIDIA H100"], "570.86.15", "12.8")


@pytest.mark.parametrize("read", [hardware.processor_model, hardware.processor_count, hardware.memory_bytes])
def test_the_machine_is_known(read):
    assert read()

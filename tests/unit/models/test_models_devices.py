"""Where a model computes, chosen from what the installed runtime really has."""

from __future__ import annotations

import onnxruntime
import pytest

from tidegate.models.devices import CPU, CUDA, Placed, placed, providers

BOTH = [CUDA, CPU]


def test_a_gpu_is_taken_where_there_is_one():
    assert providers("auto", BOTH) == providers("cuda", BOTH) == [(CUDA, {"use_tf32": "0"}), CPU]
    assert providers("cpu", BOTH) == providers("auto", [CPU]) == providers("cuda", [CPU]) == [CPU]


def test_what_was_wanted_and_is_not_there_is_told():
    assert placed("auto", BOTH, BOTH) == Placed("cuda")
    assert placed("auto", [CPU], [CPU]) == placed("cpu", BOTH, [CPU]) == Placed("cpu")
    assert "no CUDA" in placed("cuda", [CPU], [CPU]).problem
    # CUDA is compiled in, and the session fell back by itself: the driver is missing, most likely
    assert "could not be started" in placed("auto", BOTH, [CPU]).problem


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
def test_the_installed_runtime_knows_what_is_chosen(wanted):
    available = onnxruntime.get_available_providers()
    chosen = [each if isinstance(each, str) else each[0] for each in providers(wanted, available)]
    assert set(chosen) <= set(available)
    assert chosen[-1] == CPU

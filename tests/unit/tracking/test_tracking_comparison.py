import json
import subprocess

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidegate.records.run import Environment, MetricSummary, Run, RunInput, RunState
from tidegate.tracking.comparison import SECTIONS, compare, compare_runs, groups
from tidegate.tracking.environment import capture_environment

ENVIRONMENT = Environment(
    argv=["t"], directory="/d", python="3.12", platform="Linux", processors=2, memory_bytes=2**30, packages={}
)


def run(number, **fields):
    return Run(id=f"{number:024}", experiment="delay", name=f"run{number}", state=RunState.FINISHED, started_at=0, **fields)


def metric(name, last, low=None, high=None, *, lower=True):
    low, high = last if low is None else low, last if high is None else high
    count = 1 if str(low) == str(high) else 3
    return MetricSummary(name=name, count=count, last=last, last_step=1, last_at=0, min=low, max=high, lower_is_better=lower)


def lines(*runs):
    return {(item.section, item.name): item for item in compare(list(runs)).differences}


def test_only_what_differs_is_there_and_the_most_important_first():
    first = run(1, params={"depth": "6", "rate": "0.1"}, tags={"team": "a"}, metrics={"loss": metric("loss", 0.5)})
    second = run(2, params={"depth": "8", "rate": "0.1"}, tags={"team": "b"}, metrics={"loss": metric("loss", 0.25)})
    found = compare([first, second])
    assert [(item.section, item.name) for item in found.differences] == [("metric", "loss"), ("param", "depth"), ("tag", "team")]
    order = [SECTIONS.index(item.section) for item in found.differences]
    assert order == sorted(order)
    assert found.names == ["run1", "run2"]
    assert [item.name for item in found.of("tag")] == ["team"]


def test_numbers_are_compared_as_numbers():
    same = [("0.1", "1e-1"), ("6", "6.0"), ("1_000", "1000"), ("nan", "nan"), ("relu", "relu")]
    assert lines(run(1, params=dict(enumerate_text(same, 0))), run(2, params=dict(enumerate_text(same, 1)))) == {}
    found = lines(run(1, params={"a": "0.1", "b": "x", "c": "1"}), run(2, params={"a": "0.3", "b": "y", "d": "2"}))
    changes = {name: item.change for (_, name), item in found.items()}
    assert changes == {"a": "+0.2", "b": "", "c": "removed", "d": "added"}
    assert lines(run(1, params={"id": "12345678901234567890"}), run(2, params={"id": "12345678901234567891"}))
    assert lines(run(1, params={"x": "1e999999999"}), run(2, params={"x": "-1e-999999"}))


def enumerate_text(pairs, side):
    return [(f"p{number}", pair[side]) for number, pair in enumerate(pairs)]


def test_metrics_show_last_least_greatest_and_which_is_best():
    found = lines(
        run(1, metrics={"loss": metric("loss", 0.5, 0.4, 0.9), "auc": metric("auc", 0.7, 0.6, 0.8, lower=False)}),
        run(2, metrics={"loss": metric("loss", 0.25, 0.2, 0.9), "auc": metric("auc", 0.7, 0.6, 0.9, lower=False)}),
    )
    assert {name: (item.values, item.change, item.best) for (_, name), item in found.items()} == {
        "loss": (["0.5", "0.25"], "-0.25 (-50.0%)", [1]),
        "loss min (best)": (["0.4", "0.2"], "-0.2 (-50.0%)", [1]),
        "auc max (best)": (["0.8", "0.9"], "+0.1 (+12.5%)", [1]),
    }


def test_metrics_that_six_digits_show_alike_are_shown_in_full():
    found = lines(run(1, metrics={"a": metric("a", 0.12345678)}), run(2, metrics={"a": metric("a", 0.12345679)}))
    assert found["metric", "a"].values == ["0.12345678", "0.12345679"]


def test_nan_infinity_and_absence_are_no_trouble():
    nan, inf = float("nan"), float("inf")
    found = lines(
        run(1, metrics={"a": metric("a", nan), "b": metric("b", inf), "c": metric("c", nan)}),
        run(2, metrics={"a": metric("a", 1.0), "c": metric("c", nan)}),
    )
    assert {name: (item.values, item.change) for (_, name), item in found.items()} == {
        "a": (["nan", "1"], ""),
        "b": (["inf", ""], ""),
    }


def test_versions_of_a_dataset_stand_on_one_line():
    context = {"mlflow.data.context": "training"}
    found = lines(
        run(1, inputs=[RunInput(name="flights@2", digest="a" * 64, tags=context), RunInput(name="weather", digest="w")]),
        run(2, inputs=[RunInput(name="flights@3", digest="b" * 64, tags=context), RunInput(name="weather", digest="w")]),
    )
    assert {key: item.values for key, item in found.items()} == {
        ("data", "flights (training)"): [f"@2 {'a' * 12}", f"@3 {'b' * 12}"]
    }


def test_environment_and_packages_differ_line_by_line():
    first = msgspec.structs.replace(
        ENVIRONMENT, packages={"numpy": "2.1", "torch": "2.7"}, gpus=["H100"], lock_files={"uv.lock": "a" * 64}
    )
    second = msgspec.structs.replace(ENVIRONMENT, packages={"numpy": "2.10", "jax": "1.0"}, python="3.13", seeds={"numpy": "1"})
    found = {
        key: (item.values, item.change) for key, item in lines(run(1, environment=first), run(2, environment=second)).items()
    }
    assert found == {
        ("environment", "gpus"): (["H100", ""], "removed"),
        ("environment", "lock uv.lock"): (["a" * 12, ""], "removed"),
        ("environment", "python"): (["3.12", "3.13"], ""),
        ("environment", "seed numpy"): (["", "1"], "added"),
        ("package", "jax"): (["", "1.0"], "added"),
        ("package", "numpy"): (["2.1", "2.10"], ""),
        ("package", "torch"): (["2.7", ""], "removed"),
    }


def test_the_codes_difference_is_that_of_two_runs(tmp_path, bucket):
    subprocess.run(["git", "init", "-q", str(tmp_path / "p")], check=True)
    runs = []
    for number in (1, 2):
        (tmp_path / "p" / "train.py").write_text(f"depth = {number}\n")
        runs.append(run(number, environment=capture_environment(tmp_path / "p", bucket)))
    found = compare_runs(runs, bucket, tmp_path / "p")
    assert found.code.files == ["1 1 train.py"]
    assert "-depth = 1\n+depth = 2" in found.code.text
    assert [item.name for item in found.of("code")] == ["tree"]
    assert compare_runs([*runs, run(3)], bucket, tmp_path / "p").code is None
    assert json.loads(msgspec.json.encode(found))["code"]["files"] == ["1 1 train.py"]


def test_many_runs_are_grouped_by_value():
    assert groups(["a", "b", "a", ""]) == [("a", [0, 2]), ("b", [1]), ("", [3])]


VALUES = st.dictionaries(
    st.sampled_from("abcd"), st.one_of(st.text(max_size=6), st.floats().map(str), st.integers().map(str)), max_size=4
)


@given(VALUES, VALUES)
def test_a_run_is_like_itself_and_differences_are_mirrored(first, second):
    assert lines(run(1, params=first, tags=first), run(2, params=first, tags=first)) == {}
    there, back = lines(run(1, params=first), run(2, params=second)), lines(run(2, params=second), run(1, params=first))
    assert there.keys() == back.keys()
    assert all(item.values == back[key].values[::-1] for key, item in there.items())

"""Decorators, tracing and the graph that comes out."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.errors import TidegateError, UsageError
from tidegate.pipelines import Dataset, File, Pipeline, PipelineBrokenError, Step, make_plan, pipeline, step
from tidegate.pipelines.graph import Constant, Fields, Items, Output
from tidegate.pipelines.trace import declared_results


@step
def double(x: int) -> int:
    """Twice."""
    return 2 * x


@step
def add(*numbers: int, start: int = 0, **more: int) -> int:
    return sum(numbers) + start + sum(more.values())


@step
def halves(x: list[int]) -> tuple[list[int], list[int]]:
    return x[:1], x[1:]


@pipeline
def doubled(x: int = 3) -> int:
    return add(double(x), double(double(x)), start=1)


def traced(function, params=None):
    return make_plan(Pipeline(function, name="flow"), params).graph


def test_a_direct_call_is_a_plain_call():
    assert double(4) == 8
    assert doubled(1) == 7
    assert double.__doc__ == "Twice."
    assert double.__name__ == double.name == "double"
    assert step(name="other", cache=False)(double.function).cache is False
    assert isinstance(step(name="other")(double.function), Step)
    assert pipeline(name="night-run")(doubled.function).name == "night-run"


def test_the_graph_is_data():
    graph = make_plan(doubled, {"x": 5}).graph
    assert [node.id for node in graph.nodes] == ["double", "double_2", "double_3", "add"]
    assert graph.nodes[0].arguments == {"x": Constant(5)}
    assert graph.nodes[2].arguments == {"x": Output("double_2")}
    assert graph.nodes[3].arguments == {
        "numbers": Items("tuple", (Output("double"), Output("double_3"))),
        "start": Constant(1),
        "more": Constant({}),
    }
    assert graph.nodes[3].upstream == ["double", "double_3"]
    assert graph.result == Output("add")
    assert graph.target == f"{__name__}:doubled"
    assert [node.id for node in graph.ancestors("double_3")] == ["double_2", "double_3"]
    assert msgspec.json.decode(msgspec.json.encode(graph), type=type(graph)) == graph


def test_results_of_a_tuple_are_taken_one_by_one():
    def flow():
        first, second = halves([1, 2])
        return {"a": double(second), "b": [first, halves([3])[-1]], "c": 4}

    graph = traced(flow)
    assert graph.nodes[1].arguments == {"x": Output("halves", 1)}
    fields = {"a": Output("double"), "b": Items("list", (Output("halves", 0), Output("halves_2", 1))), "c": Constant(4)}
    assert graph.result == Fields(fields)


def test_inputs_stay_references():
    def flow(data: Dataset, file: File = File("a.csv")):
        return double({"data": data, "files": [file]})

    graph = traced(flow, {"data": "flights@3"})
    assert graph.nodes[0].arguments == {"x": Fields({"data": Dataset("flights@3"), "files": Items("list", (File("a.csv"),))})}


@pytest.mark.parametrize(
    "use",
    [
        lambda ref: 1 if ref else 2, lambda ref: ref + 1, lambda ref: 1 + ref, lambda ref: ref == 1, lambda ref: ref < 1, lambda ref: -ref,
        lambda ref: ref.mean, lambda ref: ref["a"], lambda ref: ref[0], list, len, lambda ref: 1 in ref,
        lambda ref: f"{ref}", str, float, lambda ref: ref(), lambda ref: [1][ref],
        lambda ref: double(__import__("copy").copy(ref)),
    ],
)  # fmt: skip
def test_a_result_is_no_value_while_tracing(use):
    with pytest.raises(UsageError, match="'double'") as caught:
        traced(lambda: use(double(1)))
    assert caught.value.code == "ref-used"
    assert caught.value.fix


def test_a_tuple_has_its_length():
    with pytest.raises(PipelineBrokenError, match="IndexError"):
        traced(lambda: halves([1])[2])
    with pytest.raises(PipelineBrokenError, match="unpack"):
        traced(lambda: _unpack_three(halves([1])))


def _unpack_three(ref):
    one, two, three = ref
    return one, two, three


def test_a_result_of_another_trace_is_refused():
    kept = []

    def flow():
        kept.append(double(1))
        return double(kept[0])

    traced(flow)
    with pytest.raises(UsageError) as caught:
        traced(flow)
    assert caught.value.code == "foreign-ref"


def test_steps_called_by_a_pipeline_that_fails_do_not_stay_traced():
    with pytest.raises(PipelineBrokenError):
        traced(lambda: double(1) and None if False else {}["missing"])
    assert double(2) == 4


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: traced(lambda: double(1, 2)), "bad-step-call"),
        (lambda: traced(lambda: double(y=1)), "bad-step-call"),
        (lambda: traced(lambda: 4), "pipeline-empty"),
        (lambda: traced(lambda: {}["missing"]), "pipeline-broken"),
        (lambda: make_plan(doubled, {"y": 1}), "unknown-param"),
        (lambda: make_plan(doubled, {"x": "many"}), "bad-param"),
        (lambda: traced(double.function), "missing-param"),
        (lambda: step(5), "not-a-function"),
        (lambda: step(doubled), "not-a-function"),
        (lambda: pipeline(double), "not-a-function"),
        (lambda: step(name="no spaces")(double.function), "bad-name"),
        (lambda: step(_generator), "not-a-function"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, code):
    with pytest.raises(TidegateError) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.fix


def _generator():
    yield 1


def test_texts_become_what_is_declared():
    def flow(a: int, b: float, c: bool, d: str, e=2, f="x", g: list[int] | None = None, h=None, i: File = File("a")):
        return double([a, b, c, d, e, f, g, h, i])

    given = {"a": "1", "b": "0.5", "c": "true", "d": "7", "e": "3", "f": "8", "h": "9", "i": "b.csv"}
    assert traced(flow, given).params == {
        "a": 1, "b": 0.5, "c": True, "d": "7", "e": 3, "f": "8", "g": None, "h": "9", "i": File("b.csv"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "count"),
    [
        ("tuple[int, str]", 2), ("tuple[int]", 1), ("tuple[int, ...]", None), ("tuple", None), ("list[int]", None), ("Tuple[A, B, C]", 3),
        (tuple[int, str], 2), (tuple[int, ...], None), ("tuple[()]", None), ("not python (", None), (int, None),
    ],
)  # fmt: skip
def test_declared_results(annotation, count):
    def function():
        pass

    function.__annotations__["return"] = annotation
    assert declared_results(function) == count

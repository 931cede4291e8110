import pytest

from tidegate.errors import UsageError
from tidegate.store.filter import Combination, Comparison, parse_filter


def test_and_binds_closer_than_or():
    tree = parse_filter("metrics.a < 1 or metrics.b > 2 and params.c = 'x'")
    assert tree == Combination(
        "or",
        [
            Comparison("metrics", "a", "<", 1.0),
            Combination("and", [Comparison("metrics", "b", ">", 2.0), Comparison("params", "c", "=", "x")]),
        ],
    )


def test_parentheses_bind_closest():
    tree = parse_filter("(state = 'FINISHED' or state = 'FAILED') and metrics.loss <= -1e-3")
    assert isinstance(tree, Combination)
    assert tree.kind == "and"
    assert tree.terms[1] == Comparison("metrics", "loss", "<=", -0.001)


def test_quotes_double_inside_a_text():
    assert parse_filter("params.name = 'it''s'") == Comparison("params", "name", "=", "it's")


def test_odd_names_stand_in_backticks():
    assert parse_filter("metrics.`val loss` < 1") == Comparison("metrics", "val loss", "<", 1.0)


def test_nothing_filters_nothing():
    assert parse_filter("  ") is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("metrics.loss <", "its end"),
        ("metrics.loss < 'x'", "cannot be compared"),
        ("params.depth = 6", "cannot be compared"),
        ("(metrics.loss < 1", "its end"),
        ("metrics.loss < 1 metrics.b < 2", "cannot be read"),
        ("stat = 'x'", "did you mean 'state'"),
        ("metrics.loss << 1", "cannot be read"),
        ("; drop table runs", "cannot be read"),
        ("(" * 1900, "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_where(text, part):
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert part in str(caught.value)

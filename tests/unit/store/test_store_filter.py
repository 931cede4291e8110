import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UsageError
from tidegate.store.filter import RUNS, Combination, Comparison, Sort, matches, parse_filter, parse_order


def test_and_binds_closer_than_or_and_not_closest():
    tree = parse_filter("metrics.a < 1 or metrics.b > 2 and not params.c = 'x'")
    assert tree == Combination(
        "or",
        [
            Comparison("metrics", "a", "<", 1),
            Combination("and", [Comparison("metrics", "b", ">", 2), Combination("not", [Comparison("params", "c", "=", "x")])]),
        ],
    )


def test_parentheses_bind_closest():
    tree = parse_filter("(state = 'FINISHED' or state = 'FAILED') and metrics.loss <= -1e-3")
    assert isinstance(tree, Combination)
    assert tree.kind == "and"
    assert tree.terms[1] == Comparison("metrics", "loss", "<=", -0.001)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.name = 'it''s'", Comparison("params", "name", "=", "it's")),
        ('params.name = "say ""x"""', Comparison("params", "name", "=", 'say "x"')),
        ("metrics.`val loss` < .5", Comparison("metrics", "val loss", "<", 0.5)),
        ('metric."a`b" >= 2', Comparison("metrics", "a`b", ">=", 2)),
        ("metrics.`a``b` >= 2", Comparison("metrics", "a`b", ">=", 2)),
        ("param.`größe/x` != 'a'", Comparison("params", "größe/x", "!=", "a")),
        ("parameters.lr LIKE '0.%'", Comparison("params", "lr", "like", "0.%")),
        ("tag.mlflow.user Not iLike '%a'", Comparison("tags", "mlflow.user", "not ilike", "%a")),
        ("tags.x RLIKE '^a(b|c)+$'", Comparison("tags", "x", "rlike", "^a(b|c)+$")),
        ("attributes.status IN ('FAILED', 'KILLED')", Comparison("attributes", "state", "in", ("FAILED", "KILLED"))),
        ('run.run_id not in ("a")', Comparison("attributes", "id", "not in", ("a",))),
        ("attr.`run name` = 'x'", Comparison("attributes", "name", "=", "x")),
        ("datasets.context = 'train'", Comparison("datasets", "context", "=", "train")),
        ("params.x is null", Comparison("params", "x", "is null", None)),
        ("metrics.x IS NOT NULL", Comparison("metrics", "x", "is not null", None)),
        ("min(metrics.x.min)<-1", Comparison("metrics", "x.min", "<", -1, "min")),
        ("COUNT ( metrics.x ) = 3", Comparison("metrics", "x", "=", 3, "count")),
        ("started_at >= '2026-11-01'", Comparison("attributes", "started_at", ">=", 1_793_491_200_000_000)),
        ("started_at >= 7", Comparison("attributes", "started_at", ">=", 7)),
        ("start_time > 5", Comparison("attributes", "started_at", ">=", 6000)),
        ("start_time <= 5", Comparison("attributes", "started_at", "<", 6000)),
        ("start_time < 5.5", Comparison("attributes", "started_at", "<", 6000)),
    ],
)
def test_one_comparison(text, expected):
    assert parse_filter(text) == expected


def test_mlflow_asks_for_a_whole_millisecond():
    tree = parse_filter("end_time = 5")
    assert [us for us in (4999, 5000, 5999, 6000) if matches(tree, lambda *_, us=us: us)] == [5000, 5999]


def test_nothing_filters_nothing():
    assert parse_filter("  ") is None
    assert matches(None, lambda *_: None)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("metrics.loss <", "cannot be compared with nothing"),
        ("metrics.loss < 'x'", "cannot be compared"),
        ("params.depth = 6", "= '6'"),
        ("params.depth < '6'", "LIKE"),
        ("metrics.loss like 'x'", "numbers and times"),
        ("(metrics.loss < 1", "its end"),
        ("metrics.loss < 1 metrics.b < 2", "(character 18)"),
        ("stat = 'x'", "did you mean 'state'"),
        ("metric_s.loss < 1", "metrics.loss"),
        ("name lik 'x'", "did you mean 'like'"),
        ("datasets.digst = 'x'", "did you mean 'digest'"),
        ("metrics.loss << 1", "cannot be compared"),
        ("; drop table runs", "(character 1)"),
        ("name = 'x'; drop table runs", "(character 11)"),
        ("min(params.x) < 1", "taken of a metric"),
        ("params.`` = 'x'", "nothing that can be filtered by"),
        ("name in ()", "cannot be compared"),
        ("name in ('a',)", "cannot be compared"),
        ("name = 'x", "cannot be read"),
        ("name rlike '(?=x)'", "RE2"),
        ("name rlike '(a'", "RE2"),
        ("started_at > 'yesterday'", "not a time"),
        ("name is 'x'", "NULL"),
        ("not", "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_where(text, part):
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert part in str(caught.value)


@pytest.mark.timeout(60)  # what explodes does not end
@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "not " * 40_000 + "name = 'x'",
        "name = 'x' and " * 12_000 + "name = 'x'",
        "a" * 1_000_000,
        "'" * 199_999,
        "metrics." * 20_000,
        "name in (" + "'a'," * 30_000 + "'a')",
        "name rlike '" + "(a*)*" * 300 + "b'",
        "name = '" + "x" * 1_000_000 + "'",
        "1e999999" * 10_000,
    ],
)
def test_hostile_filters_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert len(str(caught.value)) < 1000


def test_orders():
    assert parse_order("metrics.loss DESC, params.`a, b` asc,min(metrics.x), start_time") == [
        Sort("metrics", "loss", True),
        Sort("params", "a, b"),
        Sort("metrics", "x", False, "min"),
        Sort("attributes", "started_at"),
    ]
    assert parse_order(["metrics.loss desc", "name"]) == parse_order("metrics.loss desc, name")
    assert parse_order("") == []


@pytest.mark.parametrize("text", ["metrics.loss up", "name,", "name name", "datasets.name", "name, run_name desc", "naem", ","])
def test_orders_that_cannot_be_read(text):
    with pytest.raises(UsageError):
        parse_order(text)


# The law: what is printed is read back as what it was.


def quoted(text, mark):
    return mark + text.replace(mark, mark * 2) + mark


def printed(tree):
    if isinstance(tree, Combination):
        if tree.kind == "not":
            return f"not ({printed(tree.terms[0])})"
        return f" {tree.kind} ".join(f"({printed(term)})" for term in tree.terms)
    field = quoted(tree.name, "`") if tree.space == "attributes" else f"{tree.space}.{quoted(tree.name, '`')}"
    if tree.aggregate != "last":
        field = f"{tree.aggregate}({field})"
    if tree.value is None:
        return f"{field} {tree.operator}"
    if isinstance(tree.value, tuple):
        value = "(" + ", ".join(quoted(item, "'") for item in tree.value) + ")"
    else:
        value = quoted(tree.value, "'") if isinstance(tree.value, str) else repr(tree.value)
    return f"{field} {tree.operator.upper()} {value}"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = TEXT.filter(bool)
NUMBER = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False))
MISSING = st.builds(
    Comparison,
    st.sampled_from(["params", "tags", "metrics"]),
    NAME,
    st.sampled_from(["is null", "is not null"]),
    st.none(),
    st.just("last"),
)
TEXTUAL = st.builds(
    Comparison,
    st.sampled_from(["params", "tags"]),
    NAME,
    st.sampled_from(["=", "!=", "like", "not like", "ilike", "not ilike"]),
    TEXT,
    st.just("last"),
)
LISTED = st.builds(
    Comparison,
    st.just("attributes"),
    st.sampled_from(["id", "name", "state"]),
    st.sampled_from(["in", "not in"]),
    st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    st.just("last"),
)
NUMERIC = st.builds(
    Comparison,
    st.just("metrics"),
    NAME,
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    NUMBER,
    st.sampled_from(["last", "min", "max", "best", "count"]),
)
TREES = st.recursive(
    st.one_of(MISSING, TEXTUAL, LISTED, NUMERIC),
    lambda inner: st.one_of(
        st.builds(Combination, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda term: Combination("not", [term]), inner),
    ),
    max_leaves=8,
)


@given(TREES)
def test_a_printed_filter_is_read_back(tree):
    assert parse_filter(printed(tree)) == tree


def refusal(parse, text):
    try:
        parse(text)
    except UsageError as error:
        return error
    return None


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_filter, parse_order):
        error = refusal(parse, text)
        assert error is None or error.fix


# Matching in Python.

THING = {
    ("params", "depth"): "6",
    ("metrics", "loss"): 0.25,
    ("metrics", "odd"): float("nan"),
    ("min(metrics)", "loss"): 0.1,
    ("tags", "team"): "Ops_eu",
    ("datasets", "name"): ["train", "test"],
    ("attributes", "name"): "a\nb",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.depth = '6'", True),
        ("params.depth != '6'", False),
        ("params.missing != '6'", False),
        ("not params.missing = '6'", True),
        ("params.missing not in ('6')", False),
        ("params.missing is null and params.depth is not null", True),
        ("metrics.loss < 0.3 and min(metrics.loss) < 0.2", True),
        ("metrics.odd != 0", True),
        ("metrics.odd < 0 or metrics.odd >= 0 or metrics.odd = 0 or metrics.odd is null", False),
        ("tags.team like 'ops%'", False),
        ("tags.team ilike 'ops%'", True),
        ("tags.team like 'Ops_eu'", True),
        ("tags.team like '%s_e%'", True),
        ("tags.team like 'Ops'", False),
        ("tags.team like '%eu%eu%'", False),
        ("tags.team rlike 's.e'", True),
        ("tags.team not rlike '^s'", True),
        ("datasets.name = 'test' and datasets.name = 'train'", True),
        ("datasets.name != 'test'", True),
        ("datasets.digest is null", True),
        ("name like 'a%b' and name like 'a_b'", True),
    ],
)
def test_matches(text, expected):
    assert matches(parse_filter(text), lambda space, name: THING.get((space, name))) is expected


@pytest.mark.timeout(60)
def test_a_hostile_like_ends():
    assert not matches(parse_filter(f"name like '{'%a' * 200}b'"), lambda *_: "a" * 5000)


def test_every_attribute_of_runs_can_be_asked_for():
    for name, attribute in RUNS.attributes.items():
        assert parse_filter(f"`{name}` is not null") == Comparison("attributes", attribute.name, "is not null", None)

"""Many promoters at once: exactly one wins each time, and what everybody saw has an order. And the checker finds what has none."""

import pytest
from conftest_release_house import House
from conftest_release_linearizability import Op, anomaly, compete, is_linearizable
from hypothesis import given
from hypothesis import strategies as st

from tidegate.release import verify_ledger
from tidegate.store.bucket import CloudBucket, FolderBucket


def swap(start, end, expected, value):
    return Op(start, end, "swap", value, expected)


def read(start, end, value):
    return Op(start, end, "read", value)


@pytest.mark.parametrize(
    ("ops", "what"),
    [
        ([swap(0, 1, 0, 1), swap(2, 3, 0, 2)], "both won over 0"),
        ([swap(0, 1, 7, 8)], "replaced a value that was never there"),
        ([read(0, 1, 9)], "never written"),
        ([read(0, 1, 1), swap(2, 3, 0, 1)], "read before it was written"),
        ([swap(0, 1, 0, 1), read(2, 3, 0)], "swap of 1 ended before read of 0"),
        ([swap(0, 5, 0, 1), read(1, 2, 1), read(3, 4, 0)], "read of 1 ended before read of 0"),
        ([swap(2, 3, 0, 1), swap(0, 1, 1, 2)], "swap of 2 ended before swap of 1"),
        ([swap(0, 9, 0, 1), swap(0, 9, 1, 2), read(1, 2, 2), read(3, 4, 1)], "read of 2 ended before read of 1"),
    ],
)
def test_the_checker_finds_histories_that_nothing_explains(ops, what):
    assert what in anomaly(ops, 0)
    assert not is_linearizable(ops, 0)


def test_the_checker_takes_no_value_that_is_written_twice():
    assert "written twice" in anomaly([swap(0, 1, 0, 1), swap(0, 1, 1, 2), swap(0, 1, 2, 1)], 0)


@pytest.mark.parametrize(
    "ops",
    [
        [],
        [swap(0, 9, 0, 1), read(1, 2, 0), read(3, 4, 1)],
        [swap(0, 9, 0, 1), swap(0, 9, 1, 2), read(1, 2, 1), read(3, 4, 2), read(0, 9, 0)],
        [swap(0, 1, 0, 1), read(1, 2, 0)],  # they touch: both orders are possible
    ],
)
def test_the_checker_lets_be_what_has_an_order(ops):
    assert anomaly(ops, 0) == ""
    assert is_linearizable(ops, 0)


times = st.tuples(st.integers(0, 8), st.integers(0, 4)).map(lambda pair: (pair[0], pair[0] + pair[1]))
reads = st.builds(lambda span, value: read(*span, value), times, st.integers(0, 3))
swaps = st.builds(lambda span, before, value: swap(*span, before, value), times, st.integers(0, 3), st.integers(1, 3))
chains = st.lists(times, max_size=3).map(lambda spans: [swap(*span, at, at + 1) for at, span in enumerate(spans)])


@given(
    st.tuples(chains, st.lists(reads, max_size=4)).map(lambda parts: parts[0] + parts[1]) | st.lists(reads | swaps, max_size=5)
)
def test_the_checker_says_what_the_definition_says(ops):
    written = [op.value for op in ops if op.kind == "swap"]
    if len(set(written)) == len(written):  # it is only for swaps that write what no other writes
        assert (anomaly(ops, 0) == "") == is_linearizable(ops, 0)


def hold(bucket, ops, winners, attempts):
    assert len(ops) == 2 * attempts
    assert [len(names) for names in winners] == [1] * len(winners)
    first = next(entry.seq for entry in House(bucket).release("x").history("delay") if type(entry.event).__name__ == "Promoted")
    assert anomaly(ops, first) == ""
    assert sum(op.kind == "swap" for op in ops) == len(winners)
    assert {op.by for op in ops if op.kind == "swap"} == {names[0] for names in winners}
    assert verify_ledger(bucket, "delay") == []


def test_of_eight_promoters_in_two_processes_one_wins_each_round(tmp_path):
    place = str(tmp_path / "bucket")
    ops, winners = compete(place, str(tmp_path / "cache"), processes=2, threads=4, rounds=6)
    hold(FolderBucket(tmp_path / "bucket"), ops, winners, 48)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_64_promoters_in_four_processes_one_wins_each_of_10_000_attempts_in_a_folder(tmp_path):
    place = str(tmp_path / "bucket")
    ops, winners = compete(place, str(tmp_path / "cache"), processes=4, threads=16, rounds=157)
    hold(FolderBucket(tmp_path / "bucket"), ops, winners, 10_048)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_64_promoters_in_four_processes_one_wins_each_of_10_000_attempts_on_s3(s3_url, tmp_path):
    ops, winners = compete(s3_url, str(tmp_path / "cache"), processes=4, threads=16, rounds=157)
    hold(CloudBucket(s3_url, tmp_path / "checker"), ops, winners, 10_048)

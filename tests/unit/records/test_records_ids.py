from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.records.ids import new_id, new_ids


@given(st.integers(0, 2**50 - 1), st.integers(1, 50))
def test_many_ids_of_one_time_are_ids_of_that_time(now, count):
    ids = new_ids(now, count)
    assert len(set(ids)) == count
    assert {len(each) for each in ids} == {24}
    assert {each[:10] for each in ids} == {new_id(now, 0)[:10]}
    assert all(new_id(now, 0) <= each <= new_id(now, 2**70 - 1) for each in ids)


def test_their_tails_use_every_letter():
    letters = {letter for each in new_ids(5, 2_000) for letter in each[10:]}
    assert letters == set("0123456789abcdefghjkmnpqrstvwxyz")

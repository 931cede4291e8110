"""Feature views refuse what contradicts itself, and their digest tells definitions apart."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.errors import UsageError
from tidegate.features import FeatureView, latest, window


def view(**changes: Any) -> FeatureView:
    given: dict[str, Any] = {
        "name": "weather", "entity": ["origin"], "source": "weather", "event_time": "observed_at", "source_delay": "1h", "max_age": "6h",
        "features": [latest("temp"), window("wind", "max", "3h"), latest("humid", name="damp")], **changes,
    }  # fmt: skip
    return FeatureView(given.pop("name"), **given)


def test_names_carry_the_view_unless_an_alias_is_given() -> None:
    assert view().names == ("weather_temp", "weather_wind_max_3h", "damp")
    assert view().keys == ("origin",)
    assert view(entity="origin").keys == ("origin",)


def test_a_view_is_frozen_and_hashable() -> None:
    with pytest.raises(AttributeError):
        view().source = "other"
    assert len({view(), view()}) == 1


def test_the_digest_ignores_order_and_spelling_alone() -> None:
    same = [view(), view(source_delay="60m"), view(features=list(reversed(view().features)))]
    assert len({each.digest for each in same}) == 1
    others = [
        view(source_delay="2h"), view(max_age=None), view(source="weather2"), view(event_time="at"), view(entity=["origin", "runway"]),
        view(features=[latest("temp")]), view(name="weather2"), view(source_delay="0s", created="made"), view(source_delay="0s"),
    ]  # fmt: skip
    assert len({each.digest for each in [view(), *others]}) == 1 + len(others)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"created": "made"}, "both created and source_delay"),
        ({"max_age": "30m"}, "shorter than source_delay"),
        ({"entity": []}, "at least one entity column"),
        ({"features": []}, "at least one entity column"),
        ({"features": [window("x", "median", "3h")]}, "is no aggregate"),
        ({"features": [window("x", "avg", "1h")]}, "not longer than source_delay"),
        ({"features": [latest("x"), latest("x")]}, "is taken"),
        ({"features": [latest("x", name="origin")]}, "is taken"),
        ({"features": [latest("x", name="reason")]}, "is taken"),
        ({"name": "a b"}, "cannot name a feature view"),
        ({"max_age": "soon"}, "is not a duration"),
    ],
)
def test_contradictions_are_refused_when_written(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        view(**changes)

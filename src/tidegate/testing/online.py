"""What every ``OnlineStore`` must do."""

from __future__ import annotations

from tidegate.store.ports import OnlineRow, OnlineStore


class OnlineStoreSuite:
    """Needs the fixture ``online``: an empty online store."""

    def test_a_row_never_goes_back_in_time(self, online: OnlineStore) -> None:
        """An older event does not replace a newer one, and does not count as written."""
        newest = OnlineRow("JFK", 10, 1, {"temp": 3.5, "wind": None})
        online.put("weather", "d1", [newest])
        assert online.put("weather", "d1", [OnlineRow("JFK", 9, 2, {"temp": 0.0}), OnlineRow("LGA", 1, 2, {"temp": 1.0})]) == 1
        found = online.get("weather", "d1", ["JFK", "LGA", "EWR"])
        assert found["JFK"] == newest
        assert set(found) == {"JFK", "LGA"}

    def test_a_definition_sees_only_its_own_rows(self, online: OnlineStore) -> None:
        """A changed feature view starts empty."""
        online.put("weather", "d1", [OnlineRow("JFK", 1, 1, {"temp": 1.0})])
        assert online.get("weather", "d2", ["JFK"]) == {}

    def test_of_two_rows_of_one_entity_the_newer_stays(self, online: OnlineStore) -> None:
        """Whatever their order in one call."""
        online.put("weather", "d", [OnlineRow("JFK", at, 1, {"temp": at}) for at in (5, 7, 6)])
        assert online.get("weather", "d", ["JFK"])["JFK"].values == {"temp": 7}

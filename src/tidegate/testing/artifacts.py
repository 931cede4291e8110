"""What every ``ArtifactIndex`` must do."""

from __future__ import annotations

from tidegate.records.run import Artifact
from tidegate.store.ports import ArtifactIndex
from tidegate.testing.expecting import at_once


def _file(path: str, digest: str = "d") -> Artifact:
    return Artifact(path=path, digest=digest * 64, size=2**40)


class ArtifactIndexSuite:
    """Needs the fixture ``artifacts``: an empty index."""

    def test_files_come_back_by_path(self, artifacts: ArtifactIndex) -> None:
        """Sorted byte by byte; another owner's are another's."""
        files = [_file(path) for path in ("b", "B", "a/z", "a.txt", "ä")]
        artifacts.put("run", files)
        artifacts.put("other", [_file("mine")])
        assert [item.path for item in artifacts.list("run")] == ["B", "a.txt", "a/z", "b", "ä"]
        assert artifacts.find("run", "ä") == _file("ä")
        assert artifacts.find("run", "mine") is None
        assert artifacts.list("nobody") == []

    def test_the_last_file_of_a_path_counts(self, artifacts: ArtifactIndex) -> None:
        """Within one call, and over calls."""
        artifacts.put("run", [_file("a"), _file("a", "e")])
        assert [item.digest[0] for item in artifacts.list("run")] == ["e"]
        artifacts.put("run", [_file("a", "f"), _file("b")])
        assert [item.digest[0] for item in artifacts.list("run")] == ["f", "d"]

    def test_removing_what_is_absent_is_fine(self, artifacts: ArtifactIndex) -> None:
        """Only the named files of the owner go."""
        artifacts.put("run", [_file(f"f{number:04}") for number in range(1200)])
        artifacts.put("other", [_file("f0000")])
        artifacts.remove("run", ["none", *(f"f{number:04}" for number in range(1199))])
        artifacts.remove("nobody", ["x"])
        assert [item.path for item in artifacts.list("run")] == ["f1199"]
        assert len(artifacts.list("other")) == 1

    def test_writers_at_the_same_time_lose_nothing(self, artifacts: ArtifactIndex) -> None:
        """Eight writers of the same and of other paths."""
        at_once(8, lambda number: artifacts.put("run", [_file("same"), _file(f"f{number}"), _file("also")]))
        assert len(artifacts.list("run")) == 10

"""What every ``StepStore`` must do."""

from __future__ import annotations

from tidegate.records.pipeline import Fingerprint, StepRun, StepState
from tidegate.store.ports import StepStore


def _step(run: str, key: str, state: StepState = StepState.DONE, at: int = 1) -> StepRun:
    fingerprint = Fingerprint(code={"f": key}, inputs={}, packages={})
    return StepRun(run=run, pipeline="train", step="fit", state=state, key=key, fingerprint=fingerprint, started_at=at)


class StepStoreSuite:
    """Needs the fixture ``steps``: an empty step store."""

    def test_only_what_was_done_is_found_by_its_key(self, steps: StepStore) -> None:
        """A failed or cached execution holds no result of its own."""
        steps.record(_step("r1", "k", StepState.FAILED, 1))
        assert steps.find_done("k") is None
        steps.record(_step("r2", "k", StepState.DONE, 2))
        steps.record(_step("r3", "k", StepState.CACHED, 3))
        assert steps.find_done("k") == _step("r2", "k", StepState.DONE, 2)

    def test_the_latest_is_the_one_recorded_last(self, steps: StepStore) -> None:
        """Also when a replayed clock gives both the same time."""
        steps.record(_step("r1", "a"))
        steps.record(_step("r2", "b"))
        latest, before = steps.latest("train", "fit"), steps.latest("train", "fit", before_run="r2")
        assert latest is not None
        assert before is not None
        assert (latest.run, before.run) == ("r2", "r1")
        assert steps.latest("train", "other") is None

    def test_a_step_is_recorded_once_per_run(self, steps: StepStore) -> None:
        """A step that runs again in its run replaces what was recorded."""
        steps.record(_step("r1", "a", StepState.FAILED))
        steps.record(_step("r1", "b"))
        assert [item.key for item in steps.of_run("r1")] == ["b"]

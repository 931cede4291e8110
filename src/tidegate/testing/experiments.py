"""What every ``Experiments`` must do."""

from __future__ import annotations

from functools import partial

from tidegate.errors import ConflictError, NotFoundError
from tidegate.store.ports import Experiments, RunStore
from tidegate.testing.expecting import at_once, refused
from tidegate.testing.runs import a_run


class ExperimentsSuite:
    """Needs the fixtures ``experiments`` and ``runs``, both empty and of one store."""

    def test_an_experiment_comes_back(self, experiments: Experiments) -> None:
        """By number and by name, newest first."""
        first = experiments.create("delay", at=1, location="s3://x", tags={"team": "ops"})
        second = experiments.create("fares", at=2)
        assert experiments.get(first.id) == first
        assert experiments.find("delay") == first
        assert experiments.find("Delay") is None
        assert experiments.list() == [second, first]

    def test_a_name_belongs_to_one_experiment(self, experiments: Experiments) -> None:
        """A deleted one keeps its name."""
        first = experiments.create("delay", at=1)
        second = experiments.create("fares", at=1)
        experiments.delete(first.id, at=2)
        with refused(ConflictError):
            experiments.create("delay", at=3)
        with refused(ConflictError):
            experiments.change(second.id, at=3, name="delay")
        assert experiments.get(second.id).name == "fares"

    def test_name_and_tags_change(self, experiments: Experiments) -> None:
        """Tags are added, replaced and dropped; the time of the change is kept."""
        made = experiments.create("delay", at=1, tags={"one": "1", "two": "2"})
        experiments.change(made.id, at=5, name="late", tags={"two": "3", "four": "4"}, drop_tags=["one", "none"])
        found = experiments.get(made.id)
        assert (found.name, found.tags, found.created_at, found.updated_at) == ("late", {"two": "3", "four": "4"}, 1, 5)

    def test_an_unknown_experiment_is_not_found(self, experiments: Experiments) -> None:
        """Also a number that no column holds."""
        for number in (7, -1, 2**40, 2**63 - 1):
            for call in (partial(experiments.get), partial(experiments.change, at=1), partial(experiments.delete, at=1)):
                with refused(NotFoundError):
                    call(number)

    def test_deleting_takes_the_runs_and_restoring_brings_those_back(self, experiments: Experiments, runs: RunStore) -> None:
        """A run that was deleted before stays deleted."""
        for name in ("kept", "gone"):
            runs.create(a_run(name))
        runs.delete(["gone"], at=5)
        number = experiments.list()[0].id
        experiments.delete(number, at=9)
        assert [runs.get(name).deleted_at for name in ("kept", "gone")] == [9, 5]
        with refused(ConflictError):
            runs.create(a_run("late"))
        experiments.delete(number, at=None)
        assert [runs.get(name).deleted_at for name in ("kept", "gone")] == [None, 5]
        assert experiments.get(number).deleted_at is None

    def test_makers_of_one_name_agree(self, experiments: Experiments, runs: RunStore) -> None:
        """Eight runs of a new experiment at once make one experiment."""
        at_once(8, lambda number: runs.create(a_run(f"r{number}", experiment="new")))
        assert [item.name for item in experiments.list()] == ["new"]
        assert len(runs.search(experiments=["new"])) == 8

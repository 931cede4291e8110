"""What every ``RunStore`` must do."""

from __future__ import annotations

from tidegate.errors import BadInputError, ConflictError, NotFoundError
from tidegate.records.run import Environment, Run, RunInput, RunState
from tidegate.store.ports import RunStore
from tidegate.testing.expecting import at_once, refused


def a_run(run_id: str, experiment: str = "delay", at: int = 1, **params: str) -> Run:
    """A running run."""
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=at, params=params)


class RunStoreSuite:
    """Needs the fixture ``runs``: an empty run store."""

    def test_a_run_comes_back_whole(self, runs: RunStore) -> None:
        """Parameters, tags, inputs, environment and end."""
        data = RunInput(name="flights@3", digest="d" * 64, tags={"mlflow.data.context": "training"})
        runs.create(a_run("a", depth="6"))
        environment = Environment(
            argv=["x"], directory="/", python="3", platform="p", processors=1, memory_bytes=1, packages={"numpy": "2"}
        )
        runs.annotate("a", name="Ähre", tags={"team": "ops"}, inputs=[data, data], environment=environment)
        runs.change_state("a", RunState.FINISHED, 9)
        run = runs.get("a")
        assert (run.name, run.params, run.tags, run.inputs) == ("Ähre", {"depth": "6"}, {"team": "ops"}, [data])
        assert (run.state, run.ended_at, run.environment) == (RunState.FINISHED, 9, environment)

    def test_an_id_names_one_run(self, runs: RunStore) -> None:
        """A second run of that id is refused, and the first one stays."""
        runs.create(a_run("a", depth="6"))
        with refused(ConflictError):
            runs.create(a_run("a", depth="7"))
        assert runs.get("a").params == {"depth": "6"}

    def test_a_parameter_cannot_change(self, runs: RunStore) -> None:
        """A refused call adds nothing."""
        runs.create(a_run("a", depth="6"))
        runs.annotate("a", params={"depth": "6"})
        with refused(ConflictError):
            runs.annotate("a", params={"depth": "7", "new": "x"}, tags={"new": "x"})
        assert (runs.get("a").params, runs.get("a").tags) == ({"depth": "6"}, {})

    def test_tags_are_replaced_and_dropped(self, runs: RunStore) -> None:
        """The last value counts; dropping what is absent is fine."""
        runs.create(a_run("a"))
        runs.annotate("a", tags={"one": "1", "two": "2"})
        runs.annotate("a", tags={"two": "3"}, drop_tags=["one", "none"])
        assert runs.get("a").tags == {"two": "3"}

    def test_long_and_strange_texts_are_kept(self, runs: RunStore) -> None:
        """Thousands of characters, quotes, percent signs, any language; what no database holds is refused in words."""
        text = "'\"%_\\?%s:x;\n" + "".join(chr(0x4E00 + place * 7919 % 20_000) for place in range(6000))
        runs.create(a_run("a", experiment=text[:400], depth=text))
        runs.annotate("a", tags={text[:250]: text})
        run = runs.get("a")
        assert (run.params, run.tags, run.experiment) == ({"depth": text}, {text[:250]: text}, text[:400])
        for bad in ("nul\0", "half \ud800"):
            with refused(BadInputError):
                runs.annotate("a", tags={"bad": bad, "good": "x"})
        assert "good" not in runs.get("a").tags

    def test_a_run_ends_once(self, runs: RunStore) -> None:
        """A state that is final stays; the same one again changes nothing; an ended run can be resumed."""
        runs.create(a_run("a"))
        runs.change_state("a", RunState.FAILED, 1)
        runs.change_state("a", RunState.FAILED, 5)
        assert runs.get("a").ended_at == 1
        with refused(ConflictError):
            runs.change_state("a", RunState.FINISHED, 2)
        runs.change_state("a", RunState.RUNNING, 3)
        assert (runs.get("a").state, runs.get("a").ended_at) == (RunState.RUNNING, None)

    def test_a_run_that_is_heard_of_again_has_not_crashed(self, runs: RunStore) -> None:
        """A run that was taken for crashed may also end in another way."""
        runs.create(a_run("a"))
        runs.change_state("a", RunState.CRASHED, 5)
        runs.hear("a", 7)
        assert (runs.get("a").state, runs.get("a").heard_at, runs.get("a").ended_at) == (RunState.RUNNING, 7, None)
        runs.change_state("a", RunState.CRASHED, 8)
        runs.change_state("a", RunState.FINISHED, 9)
        assert runs.get("a").ended_at == 9

    def test_a_deleted_run_takes_nothing_until_it_is_restored(self, runs: RunStore) -> None:
        """It is still there, and search leaves it out unless it is asked for."""
        runs.create(a_run("a"))
        runs.delete(["a"], at=3)
        assert runs.get("a").deleted_at == 3
        for call in (lambda: runs.annotate("a", tags={"x": "y"}), lambda: runs.change_state("a", RunState.FAILED, 1)):
            with refused(ConflictError):
                call()
        assert runs.search() == []
        assert [len(runs.search(deleted=deleted)) for deleted in (True, None)] == [1, 1]
        runs.delete(["a"], at=None)
        runs.annotate("a", tags={"x": "y"})
        assert len(runs.search()) == 1

    def test_only_deleted_runs_are_purged(self, runs: RunStore) -> None:
        """What is not deleted, or not there, is left alone."""
        for name in "ab":
            runs.create(a_run(name, depth="6"))
            runs.annotate(name, tags={"t": "u"}, inputs=[RunInput(name="d", digest="e")])
        runs.delete(["a"], at=3)
        runs.purge(["a", "b", "unknown"])
        with refused(NotFoundError):
            runs.get("a")
        assert runs.get("b").params == {"depth": "6"}
        runs.create(a_run("a"))
        assert (runs.get("a").params, runs.get("a").tags, runs.get("a").inputs) == ({}, {}, [])

    def test_an_unknown_run_is_not_found(self, runs: RunStore) -> None:
        """Nothing is made on the way."""
        for call in (
            lambda: runs.get("x"),
            lambda: runs.annotate("x", tags={"a": "b"}),
            lambda: runs.change_state("x", RunState.FAILED, 1),
            lambda: runs.hear("x", 1),
            lambda: runs.delete(["x"], at=1),
        ):
            with refused(NotFoundError):
                call()
        assert runs.search(deleted=None) == []

    def test_search_filters_orders_and_limits(self, runs: RunStore) -> None:
        """Missing values come last, in both directions."""
        for number in range(6):
            runs.create(a_run(f"r{number}", at=number, depth=str(number % 2)))
        runs.create(a_run("bare", at=99, experiment="other"))
        assert [run.id for run in runs.search(where="params.depth = '0'", limit=2)] == ["r4", "r2"]
        assert [run.id for run in runs.search(where="params.depth = '0'", limit=2, offset=2)] == ["r0"]
        assert runs.search(limit=1)[0].id == "bare"
        for order in ("params.depth", "params.depth desc"):
            assert runs.search(order_by=order, limit=10)[-1].id == "bare"
        assert [run.id for run in runs.search(experiments=["other", "none"])] == ["bare"]
        assert runs.search(experiments=["none"]) == []

    def test_values_in_a_filter_never_become_sql(self, runs: RunStore) -> None:
        """A quote in a value is a quote."""
        runs.create(a_run("a", depth="x' OR '1'='1"))
        assert runs.search(where="params.depth = 'y'") == []
        assert len(runs.search(where="params.depth = 'x'' OR ''1''=''1'")) == 1

    def test_writers_at_the_same_time_lose_nothing(self, runs: RunStore) -> None:
        """Eight writers annotate one run of an experiment that they all make."""

        def write(number: int) -> None:
            runs.create(a_run(f"own{number}"))
            if number == 0:
                runs.create(a_run("a"))
            for turn in range(5):
                runs.annotate(f"own{number}", tags={"turn": str(turn)})

        def annotate(number: int) -> None:
            for turn in range(5):
                runs.annotate("a", params={"same": "x", f"p{number}-{turn}": "y"}, tags={"turn": str(turn)})

        at_once(8, write)
        at_once(8, annotate)
        assert len(runs.get("a").params) == 41
        assert len(runs.search(experiments=["delay"])) == 9

    def test_a_run_that_is_added_again_is_there_once(self, runs: RunStore) -> None:
        """Because an answer was lost; another run of that id is refused."""
        runs.create(a_run("a", depth="6"))
        runs.annotate("a", tags={"team": "ops"})
        runs.create(a_run("a", depth="6"))
        assert runs.get("a").tags == {"team": "ops"}
        with refused(ConflictError):
            runs.create(a_run("a", at=2))
        assert [run.id for run in runs.search()] == ["a"]

"""Engines: whoever calls the model, the output has the same bytes."""

from __future__ import annotations

import builtins

import numpy as np
import pandas as pd
import pytest

from tidegate import frames
from tidegate.errors import BadInputError, UnavailableError, UsageError
from tidegate.models import Candidate
from tidegate.models.scoring import Options, engine_names, table
from tidegate.models.scoring.engines import find_engine
from tidegate.workspace import Workspace

ROWS = 6000


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "PORTION", 500)
    monkeypatch.setattr(table, "_LEAST", 100)
    opened = Workspace.open(tmp_path, recover=False)
    yield opened
    opened.store.close()


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(5)
    rows = {
        "wind": rng.normal(10, 4, ROWS),
        "seats": rng.integers(50, 300, ROWS),
        "previous_delay": rng.normal(0, 20, ROWS),
        "carrier": rng.choice(["AA", "UA", "ZZ"], ROWS),
    }
    path = tmp_path / "may.parquet"
    with frames.connect() as con:
        frames.write_parquet(frames.relation(con, pd.DataFrame(rows)), path)
    return path


def test_a_name_that_is_no_engine_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="'roy'") as caught:
        find_engine("roy")
    assert "'ray'" in caught.value.fix
    assert engine_names() == ["local", "ray"]


def test_one_worker_and_many_give_the_same_bytes(workspace, fitted, flights, source, tmp_path):
    version = workspace.register(Candidate("delay", fitted, flights, "binary"))
    digests = {
        workspace.scoring.score(version, source, tmp_path / "out.parquet", Options(workers=workers)).output_digest
        for workers in (1, 2, 7)
    }
    assert len(digests) == 1


def test_without_ray_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UnavailableError, match="'ray'") as caught:
        find_engine("ray")
    assert "tidegate[ray]" in caught.value.fix


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one processor each, as processes on this machine; the driver joins them."""
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    ray.init(address=nodes.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_three_nodes_of_ray_give_the_same_bytes(workspace, fitted, flights, source, tmp_path, cluster):
    version = workspace.register(Candidate("delay", fitted, flights, "binary"))
    here = workspace.scoring.score(version, source, tmp_path / "here.parquet")
    there = workspace.scoring.score(version, source, tmp_path / "there.parquet", Options(engine="ray"))
    assert (there.engine, there.workers, there.rows) == ("ray", 3, ROWS)
    assert len(there.places) >= 2
    assert all(place.startswith("node ") for place in there.places)
    assert there.output_digest == here.output_digest
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert cluster.is_initialized(), "a cluster that was there before stays"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_rows_that_a_worker_refuses_are_named_as_here(workspace, strict, flights, source, tmp_path, cluster):
    version = workspace.register(Candidate("strict", strict, flights, "binary"))
    told = []
    for engine in engine_names():
        with pytest.raises(BadInputError) as caught:
            workspace.scoring.score(version, source, tmp_path / "out.parquet", Options(engine=engine))
        told.append((caught.value.code, caught.value.what, caught.value.why))
    assert told[0] == told[1]
    done = [
        workspace.scoring.score(version, source, tmp_path / f"{engine}.parquet", Options(engine=engine, on_error="skip"))
        for engine in engine_names()
    ]
    assert done[0].output_digest == done[1].output_digest
    assert done[0].refused == done[1].refused != []

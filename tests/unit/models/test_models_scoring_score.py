"""Files in, one file of predictions out: the same bytes whatever the way, and nothing by halves."""

from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pandas as pd
import pytest

from tidegate import digest as digests
from tidegate import frames
from tidegate.errors import BadInputError, ConflictError, IntegrityError, NotFoundError, RefusedError, TidegateError, UsageError
from tidegate.models import Candidate
from tidegate.models.scoring import Options, table
from tidegate.workspace import Workspace

ROWS = 5000


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch):
    """So that a small file is many portions, and one group of rows is too large to be read in parts."""
    monkeypatch.setattr(table, "PORTION", 600)
    monkeypatch.setattr(table, "_LEAST", 100)


@pytest.fixture(scope="module")
def template(tmp_path_factory, fitted, flights):
    """A project with delay@1."""
    folder = tmp_path_factory.mktemp("score")
    opened = Workspace.open(folder, recover=False)
    opened.register(Candidate("delay", fitted, flights, "binary"))
    opened.store.close()
    return folder


@pytest.fixture
def workspace(template, tmp_path):
    opened = Workspace.open(shutil.copytree(template, tmp_path, dirs_exist_ok=True), recover=False)
    yield opened
    opened.store.close()


@pytest.fixture
def version(workspace):
    return workspace.models.get("delay@1")


@pytest.fixture
def rows():
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS) + 2**53 + 1,  # as floats these would not be told apart
            "wind": rng.normal(10, 4, ROWS),
            "seats": rng.integers(50, 300, ROWS),
            "previous_delay": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(0, 20, ROWS)),
            "carrier": rng.choice(["AA", "UA", "DL", "ZZ"], ROWS),
            "at": pd.date_range("2013-06-01", periods=ROWS, freq="min"),
        }
    )


def write(rows, path, options=""):
    with frames.connect() as con:
        con.register("rows", rows)
        con.execute(f"COPY rows TO '{path}' {options}")
    return path


def read(path):
    with frames.connect() as con:
        return frames.to_columns(frames.relation(con, path))


def expected(workspace, version, rows):
    inputs = {name: rows[name].to_numpy() for name in version.manifest.signature.input_names}
    return workspace.models.load(version).predict(inputs)


def test_every_row_is_predicted_beside_what_is_kept(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")
    target = tmp_path / "out.parquet"
    seen = []
    done = workspace.scoring.score(version, source, target, Options(keep=["id", "at"]), progress=lambda *told: seen.append(told))
    found, right = read(target), expected(workspace, version, rows)
    assert list(found) == ["id", "at", "probability", "label"]
    assert found["id"].tolist() == rows["id"].tolist()
    assert found["at"].tolist() == rows["at"].to_numpy().astype("datetime64[us]").tolist()
    assert np.array_equal(found["probability"], right["probability"])
    assert np.array_equal(found["label"], right["label"])
    assert (done.rows, done.refused, done.resumed) == (ROWS, [], 0)
    assert (done.model_digest, done.output_digest) == (version.digest, digests.of_file(target))
    assert [(each.digest, each.rows) for each in done.inputs] == [(digests.of_file(source), ROWS)]
    assert seen[0] == (0, ROWS)
    assert seen[-1] == (ROWS, ROWS)
    assert len(seen) > 5
    assert not list(tmp_path.glob("*.partial"))


def test_the_run_says_which_bytes_and_which_version(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")
    done = workspace.scoring.score(version, source, tmp_path / "out.parquet")
    run = workspace.runs.get(done.run)
    assert (run.experiment, run.state, run.params["model_digest"]) == ("score", "FINISHED", version.digest)
    assert [each.digest for each in run.inputs] == [digests.of_file(source)]
    assert run.tags["output_digest"] == done.output_digest
    assert run.metrics["rows"].last == ROWS


def test_text_large_groups_several_files_and_a_snapshot_give_the_same_bytes(workspace, version, rows, tmp_path):
    whole = write(rows, tmp_path / "small-groups.parquet", "(FORMAT parquet, ROW_GROUP_SIZE 2048)")
    write(rows, tmp_path / "one-group.parquet", "(FORMAT parquet, ROW_GROUP_SIZE 100000)")
    write(rows, tmp_path / "text.csv")
    (tmp_path / "parts").mkdir()
    write(rows[:1800], tmp_path / "parts" / "a.parquet")
    write(rows[1800:], tmp_path / "parts" / "b.parquet")
    workspace.datasets.snapshot(whole, "may")
    sources = [
        whole,
        tmp_path / "one-group.parquet",
        tmp_path / "text.csv",
        tmp_path / "parts",
        f"{tmp_path}/parts/*.parquet",
        "may@1",
    ]
    digest = {
        workspace.scoring.score(version, source, tmp_path / "out.parquet", Options(keep=["id"])).output_digest
        for source in sources
    }
    assert len(digest) == 1
    done = workspace.scoring.score(version, tmp_path / "parts", tmp_path / "out.parquet", Options(columns=["label"]))
    assert [each.rows for each in done.inputs] == [1800, 3200]
    found = read(tmp_path / "out.parquet")
    assert list(found) == ["row", "label"]
    assert found["row"].tolist() == list(range(ROWS))


def test_csv_comes_out_where_it_is_asked_for(workspace, version, rows, tmp_path):
    workspace.scoring.score(version, write(rows, tmp_path / "may.parquet"), tmp_path / "out.csv", Options(keep=["id"]))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "id,probability,label"
    assert len(lines) == ROWS + 1


def test_an_interrupted_scoring_goes_on_and_gives_the_same_bytes(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")
    whole = workspace.scoring.score(version, source, tmp_path / "whole.parquet")
    target = tmp_path / "out.parquet"
    target.write_bytes(b"what was there before")

    def interrupt(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.scoring.score(version, source, target, progress=interrupt)
    assert target.read_bytes() == b"what was there before"
    parts = sorted((tmp_path / "out.parquet.partial").glob("*.parquet"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1])  # one of them was damaged meanwhile: it is made again
    done = workspace.scoring.score(version, source, target)
    assert ROWS / 4 < done.resumed < ROWS
    assert done.output_digest == whole.output_digest
    assert not list(tmp_path.glob("*.partial"))


def test_what_another_plan_left_is_not_gone_on_with(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")

    def interrupt(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.scoring.score(version, source, tmp_path / "out.parquet", progress=interrupt)
    done = workspace.scoring.score(version, source, tmp_path / "out.parquet", Options(keep=["id"]))
    assert (done.resumed, done.rows) == (0, ROWS)


def test_two_at_once_do_not_write_one_output(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")
    entered, leave = threading.Event(), threading.Event()

    def wait(done, total):
        entered.set()
        leave.wait(30)

    first = threading.Thread(
        target=workspace.scoring.score, args=(version, source, tmp_path / "out.parquet"), kwargs={"progress": wait}
    )
    first.start()
    entered.wait(30)
    with pytest.raises(ConflictError) as caught:
        workspace.scoring.score(version, source, tmp_path / "out.parquet")
    leave.set()
    first.join()
    assert caught.value.code == "output-busy"
    assert len(read(tmp_path / "out.parquet")["row"]) == ROWS


def test_a_file_that_changes_meanwhile_gives_no_output(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")

    def touch(done, total):
        os.utime(source, ns=(1, 1))

    with pytest.raises(IntegrityError) as caught:
        workspace.scoring.score(version, source, tmp_path / "out.parquet", progress=touch)
    assert caught.value.code == "input-changed"
    assert not (tmp_path / "out.parquet").exists()


def test_rows_that_do_not_conform_are_named(workspace, version, rows, tmp_path):
    rows["wind"] = rows["wind"].astype(object)
    rows.loc[[17, 4000], "seats"] = 0
    text = write(rows, tmp_path / "may.csv").read_text().splitlines()
    cells = [line.split(",") for line in text]
    cells[18][2] = "many"  # row 17: the first line is the header
    cells[4001][2] = "2.5"
    (tmp_path / "may.csv").write_text("\n".join(",".join(line) for line in cells))
    with pytest.raises(BadInputError) as caught:
        workspace.scoring.score(version, tmp_path / "may.csv", tmp_path / "out.parquet")
    assert caught.value.code == "rows-refused"
    assert "row 17 of" in caught.value.what
    assert "'seats' is no whole number" in caught.value.why
    assert not list(tmp_path.glob("out.parquet*"))
    done = workspace.scoring.score(version, tmp_path / "may.csv", tmp_path / "out.parquet", Options(on_error="skip"))
    assert [(each.code, each.rows, each.first) for each in done.refused] == [
        ("wrong-type", 2, [f"row 17 of {tmp_path}/may.csv", f"row 4000 of {tmp_path}/may.csv"])
    ]
    left = [row for row in range(ROWS) if row not in {17, 4000}]
    assert read(tmp_path / "out.parquet")["row"].tolist() == left
    right = expected(workspace, version, rows.assign(wind=rows["wind"].astype(float)))["label"][left]
    assert np.array_equal(read(tmp_path / "out.parquet")["label"], right)


def test_missing_values_and_what_the_model_refuses_are_counted_apart(workspace, strict, flights, rows, tmp_path):
    version = workspace.register(Candidate("strict", strict, flights, "binary"))
    rows.loc[10:12, "carrier"] = None
    refused = int((rows["carrier"] == "ZZ").sum())
    done = workspace.scoring.score(
        version, write(rows, tmp_path / "may.parquet"), tmp_path / "out.parquet", Options(on_error="skip")
    )
    counts = {each.code: each.rows for each in done.refused}
    assert sum(counts.values()) == refused + 3
    assert counts["model-refused-input"] >= refused
    assert done.rows == ROWS - refused - 3
    kept = rows[rows["carrier"].isin(["AA", "UA", "DL"])]
    assert read(tmp_path / "out.parquet")["row"].tolist() == kept.index.tolist()


def test_a_matrix_comes_as_lists_or_as_numbered_columns(workspace, tmp_path):
    from sklearn.linear_model import LogisticRegression

    matrix = np.random.default_rng(0).normal(size=(900, 3))
    version = workspace.register(Candidate("rings", LogisticRegression().fit(matrix, matrix[:, 0] > 0), matrix[:300], "binary"))
    lists = write(
        pd.DataFrame({"X": [[*row, 1.0] if number == 7 else list(row) for number, row in enumerate(matrix)]}),
        tmp_path / "lists.parquet",
    )
    spread = write(pd.DataFrame({f"X.{place}": matrix[:, place] for place in range(3)}), tmp_path / "spread.parquet")
    done = workspace.scoring.score(version, lists, tmp_path / "lists-out.parquet", Options(on_error="skip"))
    assert [(each.code, each.rows) for each in done.refused] == [("wrong-shape", 1)]
    workspace.scoring.score(version, spread, tmp_path / "spread-out.parquet")
    right = workspace.models.load(version).predict({"X": matrix})["probability"]
    assert np.array_equal(read(tmp_path / "spread-out.parquet")["probability"], right)
    assert np.array_equal(read(tmp_path / "lists-out.parquet")["probability"], np.delete(right, 7))


def test_no_rows_give_an_empty_file_with_its_columns(workspace, version, rows, tmp_path):
    done = workspace.scoring.score(
        version, write(rows[:0], tmp_path / "none.parquet"), tmp_path / "out.parquet", Options(keep=["id"])
    )
    assert done.rows == 0
    assert list(read(tmp_path / "out.parquet")) == ["id", "probability", "label"]


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (lambda rows: rows.drop(columns="wind"), Options(), "missing-feature"),
        (lambda rows: rows.assign(wind="windy"), Options(), "wrong-type"),
        (lambda rows: rows.assign(carrier=7), Options(), "wrong-type"),
        (lambda rows: rows, Options(keep=["nobody"]), "no-such-column"),
        (lambda rows: rows, Options(columns=["nothing"]), "no-such-column"),
        (lambda rows: rows.assign(label=1), Options(keep=["label"]), "duplicate-columns"),
        (lambda rows: rows, Options(engine="abacus"), "unknown-engine"),
    ],
)
def test_what_cannot_be_scored_is_told_before_anything_is_written(workspace, version, rows, tmp_path, change, options, code):
    source = write(change(rows), tmp_path / "may.parquet")
    with pytest.raises(TidegateError) as caught:
        workspace.scoring.score(version, source, tmp_path / "out.parquet", options)
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)
    assert not list(tmp_path.glob("out.parquet*"))


def test_places_that_cannot_be_read_or_written_are_told(workspace, version, rows, tmp_path):
    source = write(rows, tmp_path / "may.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing more")
    score = workspace.scoring.score
    with pytest.raises(UsageError, match="is what is to be read"):
        score(version, source, source)
    with pytest.raises(UsageError, match="neither Parquet nor CSV"):
        score(version, source, tmp_path / "out.xlsx")
    with pytest.raises(UsageError, match="cannot be written"):
        score(version, source, tmp_path / "nowhere" / "out.parquet")
    with pytest.raises(NotFoundError, match="no file"):
        score(version, tmp_path / "june.parquet", tmp_path / "out.parquet")
    with pytest.raises(NotFoundError):
        score(version, "june@3", tmp_path / "out.parquet")
    with pytest.raises(BadInputError, match="cannot be read"):
        score(version, tmp_path / "broken.parquet", tmp_path / "out.parquet")
    assert source.read_bytes()[:4] == b"PAR1"


def test_a_bucket_elsewhere_is_read_and_written(workspace, version, rows, tmp_path, s3_url):
    from tidegate.store.bucket.cloud import CloudBucket

    there = CloudBucket(s3_url, tmp_path / "copies")
    for name, part in (("a", rows[:2000]), ("b", rows[2000:])):
        there.put_if_absent(f"may/{name}.parquet", write(part, tmp_path / f"{name}.parquet"))
    done = workspace.scoring.score(version, f"{s3_url}/may/*.parquet", f"{s3_url}/scores/may.parquet", Options(keep=["id"]))
    here = workspace.scoring.score(version, write(rows, tmp_path / "may.parquet"), tmp_path / "out.parquet", Options(keep=["id"]))
    assert digests.of_file(there.local("scores/may.parquet")) == done.output_digest == here.output_digest
    with pytest.raises(ConflictError) as caught:
        workspace.scoring.score(version, f"{s3_url}/may/*.parquet", f"{s3_url}/scores/may.parquet")
    assert caught.value.code == "output-exists"


def test_memory_does_not_grow_with_the_file(workspace, version, rows, tmp_path, monkeypatch):
    """Never more than a few portions exist at once, however many there are."""
    from tidegate.models.scoring.engines import local

    alive, most, answer = 0, 0, local.answer
    lock = threading.Lock()

    def counted(predictor, portion, *, skip):
        nonlocal alive, most
        with lock:
            most = max(most, portion.number - alive)
        found = answer(predictor, portion, skip=skip)
        with lock:
            alive = max(alive, portion.number)
        return found

    monkeypatch.setattr(local, "answer", counted)
    done = workspace.scoring.score(version, write(rows, tmp_path / "may.parquet"), tmp_path / "out.parquet", Options(workers=2))
    assert done.rows == ROWS
    assert most <= 3


def test_an_unsigned_version_is_refused_where_a_signature_is_asked_for(workspace, version, rows, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from tidegate.models.signing import read_trusted_keys

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    source = write(rows, tmp_path / "may.parquet")
    with pytest.raises(RefusedError) as caught:
        workspace.scoring.score(
            version, source, tmp_path / "out.parquet", Options(signed_by=read_trusted_keys(["key.pem"], tmp_path))
        )
    assert caught.value.code == "package-not-signed"
    assert not (tmp_path / "out.parquet").exists()


def test_the_record_is_plain_json(workspace, version, rows, tmp_path):
    import msgspec

    done = workspace.scoring.score(version, write(rows, tmp_path / "may.parquet"), tmp_path / "out.parquet")
    assert json.loads(msgspec.json.encode(done))["model"] == version.ref

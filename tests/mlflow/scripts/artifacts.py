"""Artifacts: files, folders, odd names, large ones, and names that try to leave."""

import os
import pathlib
import tempfile

import mlflow
import numpy as np
from mlflow import MlflowClient
from observing import NAME, attempt, see

client = MlflowClient()
mlflow.set_experiment(NAME)
place = pathlib.Path(tempfile.mkdtemp())
(place / "folder" / "deep" / "er").mkdir(parents=True)
(place / "a.txt").write_text("hello")
(place / "folder" / "b.txt").write_text("b" * 1000)
(place / "folder" / "deep" / "er" / "c.bin").write_bytes(bytes(range(256)))
(place / "folder" / "empty").write_bytes(b"")
ODD = [
    "with space.txt",
    "ümlaut ß.txt",
    "per%20cent.txt",
    "plus+and&.txt",
    "#hash.txt",
    "quote'.txt",
    "semi;colon.txt",
    "a=b?.txt",
    "...",
    ".hidden",
    "日本.txt",
]
(place / "odd").mkdir()
for name in ODD:
    (place / "odd" / name).write_text(name)
with mlflow.start_run(run_name="files") as run:
    run_id = run.info.run_id
    see("the folder of the run", mlflow.get_artifact_uri())
    see("a path in it", mlflow.get_artifact_uri("x/y.txt"))
    attempt("a file", lambda: mlflow.log_artifact(str(place / "a.txt")))
    attempt("into a folder", lambda: mlflow.log_artifact(str(place / "a.txt"), "in/side"))
    attempt("a folder", lambda: mlflow.log_artifacts(str(place / "folder"), "tree"))
    attempt("a folder to the top", lambda: mlflow.log_artifacts(str(place / "folder" / "deep")))
    attempt("a text", lambda: mlflow.log_text("some text", "texts/t.txt"))
    attempt("a dict", lambda: mlflow.log_dict({"a": [1, 2]}, "d.json"))
    attempt("a yaml", lambda: mlflow.log_dict({"a": [1, 2]}, "d.yml"))
    attempt("an image", lambda: mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "i.png"))
    attempt("a table", lambda: mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.json"))
    attempt("more rows of it", lambda: mlflow.log_table({"x": [3], "y": ["c"]}, "t.json"))
    attempt("the table", lambda: list(mlflow.load_table("t.json", run_ids=[run_id]).x))
    attempt(
        "overwritten",
        lambda: [mlflow.log_text("other", "texts/t.txt"), mlflow.artifacts.load_text(f"runs:/{run_id}/texts/t.txt")],
    )


def listed(path=None, run=run_id):
    return [[item.path, item.is_dir, item.file_size] for item in client.list_artifacts(run, path)]


attempt("list", listed)
attempt("list a folder", lambda: listed("tree"))
attempt("list a deep one", lambda: listed("tree/deep/er"))
attempt("list a file", lambda: listed("a.txt"))
attempt("list what is not there", lambda: listed("none"))
attempt("list none", lambda: listed(run="0" * 32))
attempt("list above", lambda: listed("../"))
attempt("list the root", lambda: listed("/"))
attempt("list elsewhere", lambda: listed("/etc"))
for name in ODD:
    attempt(f"odd {name}", lambda name=name: mlflow.MlflowClient().log_artifact(run_id, str(place / "odd" / name), "odd"))
attempt("odd names", lambda: sorted(item[0] for item in listed("odd")))
for name in ODD:
    attempt(
        f"odd {name} back",
        lambda name=name: pathlib.Path(client.download_artifacts(run_id, f"odd/{name}", str(place / "odd"))).read_text(),
    )


def tree(path):
    root = pathlib.Path(path)
    return sorted([str(item.relative_to(root)), item.stat().st_size] for item in root.rglob("*") if item.is_file())


target = place / "back"
target.mkdir()
attempt(
    "download a file", lambda: pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="a.txt")).read_text()
)
attempt("download a folder", lambda: tree(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/tree", dst_path=str(target))))
attempt("download what is not there", lambda: mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="none.txt"))
attempt("download from above", lambda: client.download_artifacts(run_id, "../../x", str(target)))
attempt("load text", lambda: mlflow.artifacts.load_text(f"runs:/{run_id}/d.yml"))
attempt("load dict", lambda: mlflow.artifacts.load_dict(f"runs:/{run_id}/d.json"))
attempt("load image", lambda: list(mlflow.artifacts.load_image(f"runs:/{run_id}/i.png").size))
attempt("a name that climbs", lambda: client.log_text(run_id, "x", "../up.txt"))
attempt("an absolute name", lambda: client.log_text(run_id, "x", "/abs.txt"))
attempt("into a folder above", lambda: client.log_artifact(run_id, str(place / "a.txt"), "../../up"))
attempt("a folder where a file is", lambda: client.log_text(run_id, "x", "a.txt/below.txt"))
large = place / "large.bin"
large.write_bytes(os.urandom(1 << 20) * 12)
attempt("a large one", lambda: client.log_artifact(run_id, str(large), "large"))
attempt("its size", lambda: listed("large"))
attempt(
    "back",
    lambda: pathlib.Path(client.download_artifacts(run_id, "large/large.bin", str(target))).read_bytes() == large.read_bytes(),
)
attempt(
    "delete", lambda: mlflow.artifacts.get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts("texts")
)
attempt("it is gone", lambda: listed("texts"))
client.delete_run(run_id)
attempt("list a deleted run's", lambda: len(listed()))
attempt("log to a deleted run", lambda: client.log_text(run_id, "x", "late.txt"))
attempt("the list is the same", lambda: len(listed()))

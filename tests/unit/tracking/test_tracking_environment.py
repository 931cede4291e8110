"""The environment is captured without its secrets, and nothing in the surroundings can stop a run."""

import subprocess
import sys
import zlib

import msgspec
import numpy as np
import pytest

from tidegate.errors import UnavailableError
from tidegate.records.run import Environment
from tidegate.store.objects import fetch_object
from tidegate.tracking import environment as environments
from tidegate.tracking.environment import capture_environment, captured_variables, visible_seeds
from tidegate.tracking.lock_files import find_lock_files, is_exact
from tidegate.tracking.packages import installed_packages


def git(folder, *words):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *words], check=True, capture_output=True
    )


def test_machine_python_and_packages_are_captured(tmp_path, bucket):
    found = capture_environment(tmp_path, bucket)
    assert found.packages["numpy"] == np.__version__
    assert found.python == sys.version.split()[0]
    assert found.implementation == "CPython"
    assert found.processors > 0
    assert found.processor
    assert found.memory_bytes > 1e8
    assert (found.git_tree, found.git_dirty, found.patch_note) == ("", None, "this folder is in no git repository")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found


def test_only_listed_variables_are_read_and_without_secrets():
    token = "ghp_" + "a1B2" * 9
    given = {
        "RANK": "3",
        "SLURM_JOB_ID": "7",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HOME": "/root",
        "GITHUB_REF": token,
        "WANDB_API_KEY": "k",
    }
    assert captured_variables(given) == {"GITHUB_REF": "[github-token removed by tidegate]", "RANK": "3", "SLURM_JOB_ID": "7"}


def test_the_command_line_is_kept_without_secrets_and_whatever_its_bytes(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--password=hunter2", "bad\udcff"])
    found = capture_environment(tmp_path, bucket)
    assert found.argv == ["train.py", "--password=[removed]", "bad\\udcff"]
    assert found.redacted == ["command line, argument 1"]
    assert b"hunter2" not in msgspec.json.encode(found)


def test_seeds_are_seen_while_they_can_be():
    state = np.random.get_state()  # noqa: NPY002 - the generator that people seed
    try:
        np.random.seed(1234)  # noqa: NPY002 - the generator that people seed
        assert visible_seeds({"PYTHONHASHSEED": "0"}) == {"python hashes": "0", "numpy": "1234"} | _torch()
        np.random.random(1000)  # noqa: NPY002 - the generator that people seed
        assert "numpy" not in visible_seeds({"PYTHONHASHSEED": "random"})
    finally:
        np.random.set_state(state)  # noqa: NPY002 - the generator that people seed


def _torch():
    return {name: seed for name, seed in visible_seeds({}).items() if name == "torch"}


def test_a_seed_of_torch_is_seen_if_it_is_not_the_one_of_every_process(monkeypatch):
    class Torch:
        seed = 67280421310721

        @classmethod
        def initial_seed(cls):
            return cls.seed

    monkeypatch.setitem(sys.modules, "torch", Torch)
    assert "torch" not in visible_seeds({})
    Torch.seed = 17
    assert visible_seeds({})["torch"] == "17"
    monkeypatch.setattr(Torch, "initial_seed", None)
    assert "torch" not in visible_seeds({})


def test_lock_files_are_kept_as_they_are_but_without_passwords(tmp_path, bucket):
    git(tmp_path, "init", "-q")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "requirements.txt").write_text("--index-url https://ana:hunter2@pypi.example.com/simple\nnumpy\n")
    (tmp_path / "train").mkdir()
    found = capture_environment(tmp_path / "train", bucket)
    assert fetch_object(bucket, found.lock_files["uv.lock"]).read_text() == "version = 1\n"
    kept = fetch_object(bucket, found.lock_files["requirements.txt"]).read_text()
    assert "hunter2" not in kept
    assert kept.endswith("@pypi.example.com/simple\nnumpy\n")
    assert "requirements.txt:1 url-password" in found.redacted


def test_the_nearest_lock_files_win_and_none_above_the_project(tmp_path):
    (tmp_path / "uv.lock").write_text("outside")
    top, inner = tmp_path / "top", tmp_path / "top" / "inner"
    inner.mkdir(parents=True)
    assert find_lock_files(inner, top) == []
    (top / "poetry.lock").write_text("x")
    (top / "requirements").mkdir()
    (top / "requirements" / "core.txt").write_text("x")
    assert [path.name for path in find_lock_files(inner, top)] == ["poetry.lock", "core.txt"]
    (inner / "environment.yml").write_text("x")
    (inner / "uv.lock").mkdir()
    assert [path.name for path in find_lock_files(inner, top)] == ["environment.yml"]
    assert (is_exact("a/uv.lock"), is_exact("requirements.txt"), is_exact("pylock.gpu.toml")) == (True, False, True)


def test_a_patch_is_stored_compressed(tmp_path, bucket):
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("x = 1\n")
    found = capture_environment(tmp_path, bucket)
    assert b"+x = 1" in zlib.decompress(fetch_object(bucket, found.patch_digest).read_bytes())


def test_a_bucket_that_is_away_stops_nothing(tmp_path):
    class Away:
        def put_if_absent(self, key, source, **_):
            raise UnavailableError("disk-full", "no space left")

    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("x = 1\n")
    (tmp_path / "uv.lock").write_text("x")
    found = capture_environment(tmp_path, Away())
    assert (found.patch_digest, found.git_tree, found.lock_files) == ("", "", {})
    assert "no space left" in found.patch_note


def test_packages_know_where_they_come_from(tmp_path, monkeypatch):
    def put(name, source="", folder=tmp_path):
        place = folder / f"{name}.dist-info"
        place.mkdir(parents=True)
        if source:
            (place / "direct_url.json").write_text(source)

    put("Plain_Name-1.2.post1+local")
    put("edited-1.0", '{"url": "file:///data/ana/my%20project", "dir_info": {"editable": true}}')
    put("fromgit-2.0", '{"url": "https://u:pw12@git.example.com/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}')
    put("wheel-3.0", '{"url": "https://example.com/wheel.whl", "archive_info": {}}')
    put("broken-4.0", "{not json")
    put("strange-5.0", '["x"]')
    put("plain.name-0.9", folder=tmp_path / "later")
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info" / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Old\nVersion: 0.1\n")
    (tmp_path / "empty.egg-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "later"), str(tmp_path / "missing")])
    versions, sources = installed_packages()
    assert versions == {
        "broken": "4.0",
        "edited": "1.0",
        "fromgit": "2.0",
        "old": "0.1",
        "plain-name": "1.2.post1+local",
        "strange": "5.0",
        "wheel": "3.0",
    }
    assert sources == {
        "edited": "editable /data/ana/my project",
        "fromgit": "git+https://u:[url-password removed by tidegate]@git.example.com/x@abc",
        "wheel": "https://example.com/wheel.whl",
    }


def test_long_lists_are_shortened():
    lines = environments._shortened([str(number) for number in range(500)])
    assert (len(lines), lines[-1]) == (201, "and 300 more")


@pytest.mark.parametrize("text", ["plain", "ümlaut", "a\udcffb"])
def test_any_text_can_be_stored(text):
    assert environments._plain(text).encode()

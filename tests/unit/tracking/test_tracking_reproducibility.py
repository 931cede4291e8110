from msgspec.structs import replace

from tidegate.records.run import Environment, RunInput
from tidegate.tracking.reproducibility import grade, reproducibility

GOOD = Environment(
    argv=["train.py"], directory="/srv/project/train", python="3.12", platform="Linux", processors=2, memory_bytes=1, packages={"numpy": "2"},
    git_commit="c" * 40, git_branch="main", git_dirty=True, git_base="b" * 40, git_remote="https://example.com/x.git", git_tree="t" * 40,
    patch_digest="p" * 64, lock_files={"uv.lock": "d"}, seeds={"numpy": "7"}, package_sources={"project": "editable /srv/project"},
)  # fmt: skip
INPUTS = [RunInput(name="flights@3", digest="abc")]


def failing(environment, inputs=INPUTS, params=None):
    return [answer.sentence for answer in reproducibility(environment, inputs, params) if not answer.ok]


def test_a_run_with_everything_meets_every_condition():
    answers = reproducibility(GOOD, INPUTS)
    assert all(answer.ok for answer in answers)
    assert grade(answers) == f"{len(answers)} of {len(answers)} conditions to run it again are met"


def test_each_missing_thing_is_one_sentence():
    cases = {
        "code is not recorded: git took too long": replace(GOOD, git_tree="", patch_digest="", patch_note="git took too long"),
        "which no remote is known to have": replace(GOOD, git_remote=""),
        "Files were left out: a.bin (too large)": replace(GOOD, left_out=["a.bin (too large)"]),
        "Secrets were taken out": replace(GOOD, redacted=["a.py:1 password"]),
        "No lock file was found": replace(GOOD, lock_files={}),
        "may leave versions open": replace(GOOD, lock_files={"requirements.txt": "d"}),
        "folder or address of this machine: other": replace(GOOD, package_sources={"other": "editable /data/ana/other"}),
        "No seed is recorded": replace(GOOD, seeds={}),
    }
    for expected, environment in cases.items():
        found = failing(environment)
        assert len(found) == 1, found
        assert expected in found[0]
    assert "No input data" in failing(GOOD, [])[0]
    assert "have no digest: x" in failing(GOOD, [RunInput(name="x", digest="")])[0]
    assert failing(None) == ["Nothing was recorded about code, packages or machine."]


def test_a_parameter_may_be_the_seed():
    assert failing(replace(GOOD, seeds={}), params={"model.random_state": "3"}) == []


def test_packages_of_a_repository_with_their_commit_are_fine():
    assert failing(replace(GOOD, package_sources={"x": "git+https://example.com/x@abc"})) == []


def test_without_a_base_no_repository_is_needed():
    assert failing(replace(GOOD, git_base="", git_remote="")) == []


def test_old_runs_are_judged_by_what_they_have():
    old = replace(GOOD, git_tree="", git_base="", git_remote="")
    assert failing(old) == []
    assert failing(replace(old, git_dirty=False, patch_digest="")) == []
    assert "no git repository" in failing(replace(old, git_commit="", git_dirty=None, patch_digest=""))[0]

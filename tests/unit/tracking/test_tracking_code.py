"""Code is captured whole, the repository is left alone, and what was captured can be put together again."""

import hashlib
import os
import stat
import subprocess
import tempfile
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from tidegate.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from tidegate.records.run import Environment
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.objects import fetch_object, put_object
from tidegate.tracking import code as code_module
from tidegate.tracking.code import capture_code, git_state
from tidegate.tracking.environment import capture_environment
from tidegate.tracking.rebuild import diff_code, restore_code


def git(folder, *words, given="", **variables):
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", *words],
        check=True,
        capture_output=True,
        input=given.encode(),
        env={**os.environ, **variables},
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit that a remote knows."""
    return published(tmp_path)


def published(tmp_path, files=(("keep.py", "k = 1\n"), ("change.py", "c = 1\n"), ("gone.py", "g = 1\n"))):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name, text in files:
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first", "--allow-empty")
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    git(folder, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(folder, "push", "-q", "origin", "main")
    return folder


def everything(folder):
    """Every file of a folder but .git: kind, executable or not, content."""
    found = {}
    for path in Path(folder).rglob("*"):
        status = path.lstat()
        name = os.fsencode(path.relative_to(folder))
        if name.split(b"/")[0] == b".git" or stat.S_ISDIR(status.st_mode):
            continue
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", os.readlink(os.fsencode(path)))  # noqa: PTH115 - Path.readlink changes ./a to a
        else:
            found[name] = ("x" if status.st_mode & 0o100 else "-", path.read_bytes())
    return found


def fingerprint(folder):
    """Every byte below a .git folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def restored(folder, bucket, target, repository=None):
    environment = capture_environment(folder, bucket)
    assert environment.patch_note == ""
    restore_code(environment, bucket, repository or folder, target)
    return environment, everything(target)


def test_every_kind_of_change_comes_back(repository, bucket, tmp_path):
    (repository / "change.py").write_text("c = 2\n")
    (repository / "gone.py").unlink()
    (repository / "staged.py").write_text("staged\n")
    git(repository, "add", "staged.py")
    (repository / "staged.py").write_text("and changed again\n")
    (repository / "sub" / "deep").mkdir(parents=True)
    (repository / "sub" / "deep" / "untracked.bin").write_bytes(bytes(range(256)) * 9)
    (repository / "keep.py").chmod(0o755)
    (repository / "link").symlink_to("keep.py")
    (repository / "folder-link").symlink_to("sub")
    (repository / "dangling").symlink_to("nowhere/at all")
    (repository / "empty").write_bytes(b"")
    (repository / "crlf.txt").write_bytes(b"a\r\nb\nno end")
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "noise.log").write_text("no")
    expected = everything(repository)
    del expected[b"noise.log"]
    environment, found = restored(repository, bucket, tmp_path / "again")
    assert found == expected
    assert environment.git_dirty is True
    assert environment.git_base == environment.git_commit == git(repository, "rev-parse", "HEAD")
    assert (environment.git_branch, environment.left_out, environment.redacted) == ("main", [], [])


def test_a_clean_tree_needs_no_patch(repository, bucket, tmp_path):
    environment, found = restored(repository, bucket, tmp_path / "again")
    assert (environment.git_dirty, environment.patch_digest) == (False, "")
    assert environment.git_tree == git(repository, "rev-parse", "HEAD^{tree}")
    assert found == everything(repository)


def test_commits_that_nobody_has_are_in_the_patch(repository, bucket, tmp_path):
    base = git(repository, "rev-parse", "HEAD")
    for number in range(3):
        (repository / f"unpushed{number}.py").write_text(f"{number}\n")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "unpushed")
    (repository / "change.py").write_text("c = 3\n")
    git(tmp_path, "clone", "-q", str(tmp_path / "origin.git"), "colleague", "-b", "main")
    environment, found = restored(repository, bucket, tmp_path / "again", repository=tmp_path / "colleague")
    assert (environment.git_base, environment.git_remote) == (base, str(tmp_path / "origin.git"))
    assert found == everything(repository)


def test_after_a_merge_the_newest_known_commit_is_the_base(repository):
    old = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "pushed")
    git(repository, "commit", "-q", "--allow-empty", "-m", "p", GIT_COMMITTER_DATE="2030-01-01T00:00:00Z")
    git(repository, "push", "-q", "origin", "pushed")
    newest = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "local", old)
    git(repository, "commit", "-q", "--allow-empty", "-m", "l")
    git(repository, "merge", "-q", "--no-edit", "pushed")
    assert capture_code(repository).base == newest


def test_without_a_remote_everything_is_in_the_store(tmp_path, bucket):
    folder = tmp_path / "alone"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("a\n")
    none = capture_code(folder)
    assert (none.commit, none.branch, none.dirty, none.base) == ("", "main", True, "")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "b.py").write_text("b\n")
    empty = tmp_path / "any"
    git(tmp_path, "init", "-q", "any")
    environment, found = restored(folder, bucket, tmp_path / "again", repository=empty)
    assert (environment.git_base, environment.git_remote) == ("", "")
    assert found == everything(folder)


def test_without_a_remote_and_too_large_the_patch_starts_at_the_commit(tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "large").write_bytes(os.urandom(5000))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "small").write_text("x\n")
    state = capture_code(folder, most_bytes=4000)
    assert (state.base, state.remote, state.left_out) == (state.commit, "", ())
    assert b"+x" in state.patch
    assert len(state.patch) < 1000


def test_the_repository_is_byte_for_byte_untouched(repository, bucket, tmp_path):
    (repository / "change.py").write_text("token = 'ghp_" + "a1B2" * 9 + "'\n")
    (repository / "new.py").write_text("n\n")
    git(repository, "add", "new.py")
    (repository / "gone.py").unlink()
    os.utime(repository / "keep.py")  # git would write the index to note the new time
    before, files = fingerprint(repository / ".git"), everything(repository)
    environment = capture_environment(repository, bucket)
    restore_code(environment, bucket, repository, tmp_path / "again")
    diff_code(environment, msgspec.structs.replace(environment, git_tree="0" * 40), bucket, repository)
    assert environment.redacted
    assert fingerprint(repository / ".git") == before
    assert everything(repository) == files


def test_hooks_filters_and_diff_drivers_do_not_run(repository, bucket, tmp_path):
    witness = tmp_path / "witness"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\necho ran >> {witness}\ncat\n")
    script.chmod(0o755)
    for hook in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction"):
        (repository / ".git" / "hooks" / hook).write_text(script.read_text())
        (repository / ".git" / "hooks" / hook).chmod(0o755)
    for key, value in {
        "filter.nbstripout.clean": script,
        "filter.nbstripout.smudge": script,
        "filter.nbstripout.required": "true",
        "diff.evil.command": script,
        "diff.evil.textconv": script,
        "diff.external": script,
        "core.fsmonitor": script,
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "color.ui": "always",
        "core.autocrlf": "true",
    }.items():
        git(repository, "config", key, str(value))
    (repository / ".gitattributes").write_text("*.nb filter=nbstripout diff=evil\n*.py diff=evil\n")
    (repository / "book.nb").write_bytes(b"output\r\n")
    (repository / "change.py").write_bytes(b"c = 2\n")
    expected = everything(repository)
    _, found = restored(repository, bucket, tmp_path / "again")
    assert found == expected
    assert not witness.exists()


def test_files_of_an_unknown_filter_are_left_out_because_it_may_encrypt(repository):
    git(repository, "config", "filter.git-crypt.clean", "false")
    (repository / ".gitattributes").write_text("*.vault filter=git-crypt\n")
    (repository / "db.vault").write_text("the plain secret\n")
    state = capture_code(repository)
    assert list(state.left_out) == ["db.vault (a filter changes it, and may encrypt it)"]
    assert b"the plain secret" not in state.patch


def test_an_lfs_file_that_has_not_changed_is_not_a_change(repository):
    content = b"weights " * 100
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    )
    (repository / ".gitattributes").write_text("*.bin filter=lfs\n")
    (repository / "model.bin").write_text(pointer)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "lfs")
    git(repository, "push", "-q", "origin", "main")
    for key in ("clean", "smudge", "process"):
        git(repository, "config", f"filter.lfs.{key}", "git-lfs-is-not-installed")
    git(repository, "config", "filter.lfs.required", "true")
    (repository / "model.bin").write_bytes(content)
    assert capture_code(repository).dirty is False
    (repository / "model.bin").write_bytes(content + b"more")
    assert b"model.bin" in capture_code(repository).patch


def test_too_large_files_are_left_out_largest_first_and_named(repository):
    (repository / "huge.bin").write_bytes(os.urandom(9000))
    (repository / "large.bin").write_bytes(os.urandom(6000))
    (repository / "small.py").write_text("s = 1\n")
    (repository / "change.py").write_bytes(b"x" * 9500)
    state = capture_code(repository, most_bytes=7000)
    assert list(state.left_out) == ["change.py (too large)", "huge.bin (too large)"]
    assert b"small.py" in state.patch
    assert b"large.bin" in state.patch
    assert b"xxxx" not in state.patch
    assert state.dirty is True


def test_a_large_file_that_became_small_is_not_in_the_patch_with_its_old_content(repository, bucket, tmp_path):
    (repository / "data.txt").write_text("".join(f"old line {number}\n" for number in range(1000)))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "data")
    git(repository, "push", "-q", "origin", "main")
    (repository / "data.txt").write_text("new\n")
    state = capture_code(repository, most_bytes=5000)
    assert (state.hidden, state.left_out) == (("data.txt",), ())
    assert b"old line" not in state.patch


def test_secrets_never_reach_the_store_and_the_file_keeps_them(repository, bucket, tmp_path):
    secret = "ghp_" + "a1B2" * 9
    (repository / "old.py").write_text(f"t = '{secret}'\n")
    (repository / "deleted.py").write_text(f"t = '{secret}'\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "a mistake")
    git(repository, "push", "-q", "origin", "main")
    (repository / "committed.py").write_text(f"\n\nx = '{secret}'\n")
    (repository / ".env").write_text("A=b\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "not pushed")
    (repository / "untracked.py").write_text(f"y = '{secret}'\n")
    (repository / "old.py").write_text("t = ask()\n")
    (repository / "deleted.py").unlink()
    environment, found = restored(repository, bucket, tmp_path / "again")
    assert environment.redacted == [".env:1 secret file", "committed.py:3 github-token", "untracked.py:1 github-token"]
    patch = zlib.decompress(fetch_object(bucket, environment.patch_digest).read_bytes())
    assert secret.encode() not in patch
    assert b"A=b" not in patch
    assert found[b"committed.py"] == ("-", b"\n\nx = '[github-token removed by tidegate]'\n")
    assert found[b"old.py"] == ("-", b"t = ask()\n")
    assert b"deleted.py" not in found
    assert (repository / "untracked.py").read_text() == f"y = '{secret}'\n"
    assert secret not in msgspec.json.encode(environment).decode()


HOSTILE = [
    "-rf",
    "--output=x",
    "a\nb",
    'quo"te',
    "tab\tbed",
    " lead",
    "trail ",
    "ümlaut",
    ":(top)x",
    "*",
    "[a]",
    "back\\slash",
    "$(x)",
]


def test_hostile_names_come_back(repository, bucket, tmp_path):
    for number, name in enumerate(HOSTILE):
        (repository / name).write_text(f"{number}\n")
    (repository / os.fsdecode(b"not-utf8-\xff\xfe")).write_bytes(b"bytes")
    git(repository, "add", "--", ":(literal)a\nb", ":(literal)*")
    (repository / "*").write_text("changed\n")
    expected = everything(repository)
    _, found = restored(repository, bucket, tmp_path / "again")
    assert found == expected


def test_a_folder_becomes_a_file_and_a_file_a_folder(repository, bucket, tmp_path):
    (repository / "d").mkdir()
    (repository / "d" / "x").write_text("x\n")
    (repository / "f").write_text("f\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "both")
    git(repository, "push", "-q", "origin", "main")
    (repository / "d" / "x").unlink()
    (repository / "d").rmdir()
    (repository / "d").write_text("now a file\n")
    (repository / "f").unlink()
    (repository / "f").mkdir()
    (repository / "f" / "y").write_text("y\n")
    _, found = restored(repository, bucket, tmp_path / "again")
    assert found == everything(repository)


def test_a_subfolder_captures_the_whole_repository(repository, bucket, tmp_path):
    (repository / "sub").mkdir()
    (repository / "sub" / "train.py").write_text("t\n")
    (repository / "change.py").write_text("c = 2\n")
    _, found = restored(repository / "sub", bucket, tmp_path / "again")
    assert found == everything(repository)


def test_a_folder_that_the_repository_ignores_is_not_taken_for_captured(repository):
    (repository / ".gitignore").write_text("experiments/\n")
    (repository / "experiments").mkdir()
    (repository / "experiments" / "train.py").write_text("t\n")
    state = capture_code(repository / "experiments")
    assert (state.tree, state.dirty, state.note) == ("", None, "the repository around this folder ignores it")


def test_a_worktree_has_its_own_state(repository, bucket, tmp_path):
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "other"))
    (tmp_path / "other" / "new.py").write_text("n\n")
    environment, found = restored(tmp_path / "other", bucket, tmp_path / "again")
    assert environment.git_branch == "other"
    assert found.keys() == {b"keep.py", b"change.py", b"gone.py", b"new.py"}


def test_changes_that_git_was_told_not_to_see_are_seen(repository, bucket, tmp_path):
    git(repository, "update-index", "--assume-unchanged", "keep.py")
    git(repository, "update-index", "--skip-worktree", "change.py")
    (repository / "keep.py").write_text("k = 2\n")
    (repository / "change.py").write_text("c = 2\n")
    environment, found = restored(repository, bucket, tmp_path / "again")
    assert found == everything(repository)
    assert environment.git_dirty is True


def test_a_change_in_the_same_instant_is_seen(repository):
    """The index keeps times; a file of the same size that changed within its instant is told apart by content alone."""
    for number in range(20):
        (repository / "change.py").write_text(f"c = {number:03}\n")
        git(repository, "add", "change.py")
        (repository / "change.py").write_text(f"c = {number + 1:03}\n")
        assert f"c = {number + 1:03}".encode() in capture_code(repository).patch


def test_a_merge_with_conflicts_is_captured_as_it_lies_there(repository, bucket, tmp_path):
    git(repository, "checkout", "-q", "-b", "one")
    (repository / "change.py").write_text("one\n")
    git(repository, "commit", "-q", "-am", "one")
    git(repository, "checkout", "-q", "main")
    (repository / "change.py").write_text("two\n")
    git(repository, "commit", "-q", "-am", "two")
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "merge", "-q", "one")
    _, found = restored(repository, bucket, tmp_path / "again")
    assert found == everything(repository)
    assert b"<<<<<<<" in found[b"change.py"][1]


def test_files_with_the_intent_to_be_added_count(repository, bucket, tmp_path):
    (repository / "later.py").write_text("later\n")
    git(repository, "add", "-N", "later.py")
    _, found = restored(repository, bucket, tmp_path / "again")
    assert found == everything(repository)


def test_submodules_are_their_commit_and_their_changes_are_told(repository, bucket, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "lib.py").write_text("l\n")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "lib")
    git(repository, "submodule", "--quiet", "add", str(inner), "vendor")
    environment, _ = restored(repository, bucket, tmp_path / "again")
    assert (environment.left_out, (tmp_path / "again" / "vendor").is_dir()) == ([], True)
    (repository / "vendor" / "lib.py").write_text("changed\n")
    git(repository, "init", "-q", "nested")
    (repository / "nested" / "x").write_text("x")
    state = capture_code(repository)
    assert list(state.left_out) == ["nested/ (a repository of its own)", "vendor (a submodule with uncommitted changes)"]
    git(repository / "vendor", "commit", "-q", "-am", "newer")
    assert git(repository / "vendor", "rev-parse", "HEAD").encode() in capture_code(repository).patch


def test_variables_of_git_lead_nowhere(repository, tmp_path, monkeypatch):
    expected = capture_code(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    assert capture_code(repository) == expected


def test_fifos_and_unreadable_things_stop_nothing(repository, bucket, tmp_path):
    os.mkfifo(repository / "pipe")
    (repository / "gone.py").unlink()
    os.mkfifo(repository / "gone.py")
    state = capture_code(repository)
    assert list(state.left_out) == ["gone.py (cannot be read)"]
    assert state.note == ""


def test_a_flood_of_untracked_files_is_left_out(repository, monkeypatch):
    monkeypatch.setattr(code_module, "MAX_UNTRACKED", 10)
    for number in range(11):
        (repository / f"image{number}").write_text("x")
    (repository / "change.py").write_text("c = 2\n")
    state = capture_code(repository)
    assert list(state.left_out) == ["11 untracked files (more than 10; ignore them in .gitignore)"]
    assert b"c = 2" in state.patch


@pytest.mark.parametrize(("seconds", "path", "expected"), [(0.0, None, "git took too long"), (9, "", "git is not installed")])
def test_trouble_with_git_is_a_note(repository, bucket, monkeypatch, seconds, path, expected):
    if path is not None:
        monkeypatch.setenv("PATH", path)
    state = capture_code(repository, seconds=seconds)
    assert state.note == expected
    assert state.tree == ""


def test_a_broken_repository_is_a_note(repository, bucket):
    (repository / ".git" / "index").write_bytes(b"no index")
    environment = capture_environment(repository, bucket)
    assert "git ls-files" in environment.patch_note
    assert environment.git_commit == git(repository, "rev-parse", "HEAD")
    (repository / ".git" / "config").write_text("[broken")
    assert "config" in capture_environment(repository, bucket).patch_note


def test_places_without_a_working_tree_are_told(repository, tmp_path):
    assert capture_code(tmp_path / "origin.git").note == "this is a bare git repository: it has no working tree"
    assert capture_code(repository / ".git").note == "this folder lies inside a .git folder"
    assert capture_code(tmp_path / "nowhere").note.startswith("there is no folder")


def test_sha256_repositories_work(tmp_path, bucket):
    folder = tmp_path / "modern"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    (folder / "a").write_text("a\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "b").write_text("b\n")
    environment, found = restored(folder, bucket, tmp_path / "again")
    assert len(environment.git_tree) == 64
    assert found == everything(folder)


def test_restoring_refuses_what_would_be_wrong(repository, bucket, tmp_path):
    (repository / "change.py").write_text("c = 2\n")
    environment = capture_environment(repository, bucket)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(ConflictError, match="not an empty folder"):
        restore_code(environment, bucket, repository, tmp_path / "full")
    other = tmp_path / "unrelated"
    git(tmp_path, "init", "-q", str(other))
    with pytest.raises(NotFoundError, match="has no commit"):
        restore_code(environment, bucket, other, tmp_path / "again")
    with pytest.raises(NotFoundError, match="not recorded"):
        restore_code(msgspec.structs.replace(environment, git_tree=""), bucket, repository, tmp_path / "again")
    for digest in ("", put_object(bucket, b"no zlib"), put_object(bucket, zlib.compress(b""))):
        broken = msgspec.structs.replace(environment, patch_digest=digest)
        with pytest.raises((IntegrityError, UnavailableError), match="code|patch"):
            restore_code(broken, bucket, repository, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_diff_of_two_runs_is_that_of_their_trees(repository, bucket):
    first = capture_environment(repository, bucket)
    (repository / "change.py").write_text("c = 2\n")
    (repository / "blob").write_bytes(b"\0\1")
    second = capture_environment(repository, bucket)
    found = diff_code(first, second, bucket, repository)
    assert found.files == ["- - blob", "1 1 change.py"]
    assert "-c = 1\n+c = 2" in found.text
    assert diff_code(second, second, bucket, repository).lines == 0
    short = diff_code(first, second, bucket, repository, most_lines=3)
    assert (len(short.text.splitlines()), short.lines) == (3, found.lines)
    old = msgspec.structs.replace(first, git_tree="")
    assert diff_code(old, second, bucket, repository).note == "the code of one of the runs was not recorded"
    assert (
        "no git repository" in diff_code(first, second, bucket, Path("/")).note
        or "not a git" in diff_code(first, second, bucket, Path("/")).note
    )


def test_a_partial_clone_is_captured_without_fetching(repository, tmp_path):
    git(tmp_path / "origin.git", "config", "uploadpack.allowFilter", "true")
    git(
        tmp_path,
        "clone",
        "-q",
        "--no-checkout",
        "--filter=blob:none",
        (tmp_path / "origin.git").as_uri(),
        "partial",
        "-b",
        "main",
    )
    partial = tmp_path / "partial"
    git(partial, "read-tree", "HEAD")  # every file is deleted in the working tree, and not one was ever fetched
    (partial / "new.py").write_text("n\n")
    state = capture_code(partial)
    assert (state.note, state.dirty, state.hidden) == ("", True, ("change.py", "gone.py", "keep.py"))
    assert state.tree == git(
        partial, "mktree", "--missing", given=f"100644 blob {git(partial, 'hash-object', 'new.py')}\tnew.py\n"
    )


def test_commit_and_cleanness_can_be_asked_alone(repository, tmp_path):
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == (commit, False)
    (repository / "new.py").write_text("n\n")
    before = fingerprint(repository / ".git")
    assert git_state(repository) == (commit, True)
    assert fingerprint(repository / ".git") == before
    assert git_state(tmp_path / "nowhere") is None


def test_old_records_can_be_read():
    old = b'{"argv":["t"],"directory":"/","python":"3","platform":"p","processors":1,"memory_bytes":1,"packages":{},"git_commit":"abc","git_dirty":true,"patch_digest":"d"}'
    found = msgspec.json.decode(old, type=Environment)
    assert (found.git_commit, found.patch_digest, found.git_tree, found.redacted) == ("abc", "d", "", [])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: (
        name not in {".", ".."}
        and not name.lower().startswith((".git", "git~"))
        and "\u200c" not in name
        and len(name.encode()) < 100
    )
)
FILES = st.one_of(
    st.tuples(st.just("-"), st.binary(max_size=60)),
    st.tuples(st.just("x"), st.binary(max_size=60)),
    st.tuples(st.just("-"), st.text("ab\r\n \t\\", max_size=40).map(str.encode)),
    st.tuples(st.just("link"), st.text("abc./", min_size=1, max_size=9).map(str.encode)),
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), FILES, max_size=7)


def put_tree(folder, tree):
    for name, (kind, content) in tree.items():
        path = folder / name
        if any(parent.is_symlink() or parent.is_file() for parent in path.parents) or os.path.lexists(path):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(os.fsdecode(content))
        else:
            path.write_bytes(content)
            path.chmod(0o755 if kind == "x" else 0o644)


@settings(
    max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # shrinking takes minutes: each example is ten processes
@given(TREES, TREES, TREES, st.booleans())
def test_any_tree_comes_back(committed, staged, lying, push):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        folder.mkdir()
        git(folder, "init", "-q")
        put_tree(folder, committed)
        git(folder, "-c", "core.autocrlf=false", "add", "-A", "--", ".")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
        if push:
            git(place, "init", "-q", "--bare", "origin.git")
            git(folder, "remote", "add", "origin", f"{place}/origin.git")
            git(folder, "push", "-q", "origin", "HEAD")
        for tree in (staged, lying):
            git(folder, "add", "-A", "--", ".")
            for name in list(everything(folder))[::2]:
                (folder / os.fsdecode(name)).unlink()
            put_tree(folder, tree)
        expected = everything(folder)
        bucket = FolderBucket(Path(place) / "bucket")
        environment, found = restored(folder, bucket, Path(place) / "again")
        assume(not environment.redacted)  # a name like .p12: that its content goes is another test's matter
        assert found == expected
        assert environment.left_out == []

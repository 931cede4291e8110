"""What is committed can be given to anybody: no names of one machine, no index addresses, no heavy files."""

from __future__ import annotations

import re

from house import ROOT, repository_files

# Spelled in pieces, so that this file does not find itself.
FORBIDDEN = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/",
    "/opt/" + "pypi",
    "." + "library/",
    "pypi" + ".org",
    "python" + "hosted",
    "deb." + "debian",
    "registry." + "npmjs",
]
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".yml",
    ".yaml",
    ".cff",
    ".cfg",
    ".json",
    ".html",
    ".css",
    ".js",
    ".sql",
    ".ini",
    ".mako",
    ".sh",
    ".svg",
    "",
}


def test_no_file_names_a_machine_or_an_index() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in repository_files()
        if path.suffix in TEXT
        for text in [path.read_text(encoding="utf-8", errors="replace")]
        for word in FORBIDDEN
        if word in text
    ]
    assert found == []


def test_locks_hold_hashes_and_nothing_else_to_download_from() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [lock.stem for lock in locks] == [
        "bootstrap",
        "core",
        "demo",
        "peers-gate",
        "peers-mlflow2",
        "peers-mlflow3",
        "peers-serving",
        "peers-trackers",
        "slow",
        "test",
    ]
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        entries = re.findall(r"^[a-z0-9]\S*==\S+.*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
        assert "".join(entries) == text, f"{lock.name} holds something that is no pinned, hashed package"
        assert "tidegate" not in text


def test_no_file_is_heavy() -> None:
    heavy = {str(path.relative_to(ROOT)): size for path in repository_files() if (size := path.stat().st_size) > 1_000_000}
    assert heavy == {}


def test_locks_agree_with_each_other() -> None:
    pins = {
        lock.stem: set(re.findall(r"^([a-z0-9.-]+==\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
        for lock in (ROOT / "requirements").glob("*.txt")
    }
    assert pins["core"] <= pins["demo"] <= pins["test"]
    tested = dict(pin.split("==") for pin in pins["test"])
    assert {pin for pin in pins["slow"] if pin.split("==")[0] in tested} <= pins["test"]
    assert {pin for pin in pins["bootstrap"] - pins["test"] if not pin.startswith("uv==")} == set()

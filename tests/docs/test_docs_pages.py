"""Every page holds what it says: its snippets run, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import PageError, read_blocks, run_page

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    ran = run_page(text, tmp_path)
    skipped = [block for block in read_blocks(text) if block.key == "skip"]
    assert all(block.value for block in skipped), "say why a block is skipped"
    assert ran >= 0


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [
        target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target and not target.startswith("mailto:")
    ]
    broken = []
    for target in targets:
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_of_docs_can_be_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    lost = [
        name
        for page in (ROOT / "docs").rglob("*.md")
        if (name := str(page.relative_to(ROOT / "docs"))) != "index.md" and name not in index
    ]
    assert lost == []


def _anchors(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_output_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = "```python\nx = 2\n```\n\n```python\nprint('a', x)\nprint('b')\n```\n\n```text\na ...\n...\n```\n\n```console\n$ echo one; echo two\none\ntwo\n```\n"
    assert run_page(good, tmp_path) == 3
    for wrong in (
        good.replace("a ...", "c ..."),
        good.replace("two\n```", "three\n```"),
        good.replace("one\ntwo\n```", "one\n```"),
    ):
        with pytest.raises(PageError):
            run_page(wrong, tmp_path)


def test_comments_steer_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = "<!-- file: a/b.toml -->\n```toml\nx = 1\n```\n\n<!-- exit: 3 -->\n```console\n$ cat a/b.toml\nx = 1\n$ exit 3\n```\n\n<!-- skip: no network -->\n```console\n$ false\n```\n"
    assert run_page(page, tmp_path) == 2
    for wrong in (page.replace("exit: 3", "exit: 0"), page.replace("skip: no network", "slip: no network")):
        with pytest.raises(PageError):
            run_page(wrong, tmp_path)


def test_broken_data_is_found(tmp_path: Path) -> None:
    for text in ("```toml\nx = \n```\n", "```json\n{\n```\n", "```bash\nls\n```\n", "```console\nls\n```\n"):
        with pytest.raises(PageError):
            run_page(text, tmp_path)

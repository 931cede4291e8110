from html.parser import HTMLParser

import msgspec
import pytest

from tidegate.models.card import CardVerdict, card_page, write_card
from tidegate.records.model import Allowed, Lineage, Manifest, ModelVersion, PackagedFile, Parity, Signature, Tensor

WORDS = "## What it is for\n\nDelays of *flights*.\n\n<script>alert(1)</script> [x](javascript:alert(1))"
MANIFEST = Manifest(
    name="delay", version=3, task="binary", format="onnx", loads_code=False, classes=["no", "late|er"], description="trees_and *rain*",
    signature=Signature(
        inputs=[Tensor(name="wind_speed", dtype="float64", shape=[-1, 1], unit="knots", allowed=Allowed(minimum=0, maximum=80))],
        outputs=[Tensor(name="probability", dtype="float32", shape=[-1])],
    ),
    files=[PackagedFile(path="model.onnx", size=1234, digest="a" * 64)], card=WORDS, author="ana", created_at=0,
    lineage=Lineage(run="01J", snapshots=["flights@2"], git_commit="b" * 40, git_dirty=True, code_tree="c" * 40),
    parity=Parity(rows=300, largest_difference=3e-7, tolerance=1e-5, holds=True), requirements=["numpy==2.4.6"], python="3.11.7",
)  # fmt: skip
VERSION = ModelVersion(digest="d" * 64, manifest=MANIFEST)
VERDICTS = [CardVerdict("FAIL", "eval@1", "e" * 64, 0), CardVerdict("PASS", "eval@2", "f" * 64, 10**6)]


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.rows, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_a_page_has_the_facts_in_its_cells():
    text = write_card(VERSION, VERDICTS, ["champion"])
    page = Cells()
    page.feed(card_page(text, "delay@3"))
    assert ["task", "binary, classes no, late|er"] in page.rows  # a bar is no end of a cell
    assert ["wind_speed", "float64", "[-1, 1]", "knots", "0 to 80", "no"] in page.rows
    assert ["stands as", "champion"] in page.rows
    assert ["code", f"git {'b' * 12} with uncommitted changes"] in page.rows
    assert ["PASS", "eval@2", "1970-01-01 00:00:01Z", "ffffffffffff"] in page.rows
    assert ["parity", "differs from the estimator by at most 3e-07 on 300 rows (1e-05 is allowed)"] in page.rows
    assert text.index("What it is for") < text.index("## Facts")


def test_the_authors_words_run_nothing():
    page = Cells()
    page.feed(card_page(write_card(VERSION, [], []), "<b>"))
    assert not [
        tag for tag, attrs in page.tags if tag in {"script", "img", "iframe"} or any(name.startswith("on") for name in attrs)
    ]
    assert not [attrs for tag, attrs in page.tags if tag == "a" and attrs["href"].startswith("javascript")]


@pytest.mark.parametrize("roles", [[], ["champion", "blue"]])
def test_the_same_version_gives_the_same_card(roles):
    assert write_card(VERSION, VERDICTS, roles) == write_card(VERSION, VERDICTS, roles)
    bare = ModelVersion(digest="d" * 64, manifest=msgspec.structs.replace(MANIFEST, card="", requirements=[], parity=None))
    assert "The gate has not judged it." in write_card(bare, [], roles)

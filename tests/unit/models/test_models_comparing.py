import msgspec

from tidegate.models.comparing import compare_packages, parity_text
from tidegate.records.model import Lineage, Manifest, PackagedFile, Parity, Signature

HELD = Parity(rows=300, largest_difference=3e-7, tolerance=1e-5, holds=True)
BEFORE = Manifest(
    name="delay", version=1, task="binary", format="onnx", loads_code=False, signature=Signature(inputs=[], outputs=[]),
    files=[PackagedFile(path="model.onnx", size=1000, digest="a" * 64)], lineage=Lineage(), created_at=1, parity=HELD,
    requirements=["numpy==2.4.6", "onnxruntime==1.31.0"], python="3.11.7",
)  # fmt: skip


def test_the_same_package_differs_in_nothing():
    assert compare_packages(BEFORE, msgspec.structs.replace(BEFORE, version=2, created_at=9)) == []


def test_every_difference_is_named_once():
    after = msgspec.structs.replace(
        BEFORE,
        files=[PackagedFile(path="model.skops", size=2000, digest="b" * 64)],
        requirements=["numpy==2.5.0", "skops==0.16.0"],
        python="3.12.1",
        parity=Parity(rows=10, largest_difference=0.0, tolerance=1e-4, holds=False, reason="onnx: it cannot be converted"),
        lineage=Lineage(code_tree="c" * 40, policy_digest="d" * 64),
    )
    found = {change.what: (change.before, change.after) for change in compare_packages(BEFORE, after)}
    assert list(found) == [
        "file model.onnx", "file model.skops", "parity", "Python", "requires numpy", "requires onnxruntime", "requires skops",
        "code tree", "declared policy",
    ]  # fmt: skip
    assert found["requires numpy"] == ("2.4.6", "2.5.0")
    assert found["file model.skops"] == ("", "2,000 bytes, bbbbbbbbbbbb")
    assert found["parity"][1].startswith(
        "native, because of onnx: it cannot be converted; differs from the estimator by at most 0 on 10"
    )


def test_parity_of_manifests_of_every_age():
    assert parity_text(msgspec.structs.replace(BEFORE, parity=None)) == "not known"
    old = Parity(rows=0, largest_difference=0.0, tolerance=0.0, holds=False, reason="")
    assert parity_text(msgspec.structs.replace(BEFORE, parity=old)) == "native"
    assert parity_text(BEFORE) == "differs from the estimator by at most 3e-07 on 300 rows (1e-05 is allowed)"

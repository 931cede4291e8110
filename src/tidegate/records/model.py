"""A model version: its signature and the manifest of its immutable package."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.records.policy import Task

DType = Literal["bool", "int32", "int64", "float32", "float64", "string"]

PackagedTask = Task | Literal["unknown"]
"""Unknown where nobody said it: a folder of files that came from elsewhere."""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What a value of an input may be, as the model's author declared it; a missing value is another question."""

    minimum: float | None = None
    maximum: float | None = None
    """Both ends belong to the range."""
    choices: list[str | float] | None = None
    """The only values; empty texts have to be named too."""


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One named input or output. ``shape`` has -1 where the number of rows stands: ``[-1, 1]`` is a column."""

    name: str
    dtype: DType
    shape: list[int]
    nullable: bool = False
    """Whether a value may be missing (NaN in numbers, null in text): the model answered such rows when it was packed."""
    unit: str = ""
    """What its numbers count, such as ``knots``; empty: nobody said."""
    allowed: Allowed | None = None
    """Held against every request, if it was declared."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives. A table's columns are one tensor each, a plain matrix is one tensor."""

    inputs: list[Tensor]
    outputs: list[Tensor]

    @property
    def input_names(self) -> list[str]:
        """The inputs' names in the order of the signature."""
        return [tensor.name for tensor in self.inputs]


class PackagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a package: path inside it, size in bytes, SHA-256."""

    path: str
    size: int
    digest: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version comes from; an empty text or list means that it is not known."""

    run: str = ""
    pipeline: str = ""
    git_commit: str = ""
    git_dirty: bool | None = None
    snapshots: list[str] = []
    """References of the snapshots that it was trained on, like ``flights-train@3``."""
    training_digest: str = ""
    """Digest of the frame of training rows, where the trainer gave it."""
    packages: dict[str, str] = {}
    """What was installed where it was trained."""
    code_tree: str = ""
    """The git tree of the code as it was when the run began, changes that were not committed included."""
    policy_digest: str = ""
    """Digest of the policy that was declared for the model when the version was registered."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of the package with the model that it was made of, on real rows.

    ``holds`` says that it was compiled with the same answers. Where it was not, ``reason`` says why, and the numbers are those of the
    native package, loaded again (manifests before 0.2 have none).
    """

    rows: int
    largest_difference: float
    tolerance: float
    holds: bool
    reason: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<name>/versions/<n>/manifest.json``: written once, never changed.

    The version's digest is the SHA-256 of this document's canonical JSON; it covers every file's digest.
    """

    name: str
    version: int
    task: PackagedTask
    format: str
    """Name of the format that loads it: ``onnx``, ``skops``, ..."""
    loads_code: bool
    signature: Signature
    files: list[PackagedFile]
    lineage: Lineage
    created_at: int
    author: str = ""
    parity: Parity | None = None
    description: str = ""
    classes: list[str] = []
    """A classifier's classes as text; ``label`` is an index into them. Empty for a regression."""
    requirements: list[str] = []
    """What loading it needs, as lines for pip (``numpy==2.4.6``): those distributions and what they need, not a whole environment."""
    python: str = ""
    """The version of Python that packed it."""
    card: str = ""
    """The author's own words about the model, in Markdown."""

    @property
    def ref(self) -> str:
        """``delay@12``."""
        return f"{self.name}@{self.version}"

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest together with its digest: the identity that receipts, approvals and the ledger name."""

    digest: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def ref(self) -> str:
        """``delay@12``."""
        return self.manifest.ref

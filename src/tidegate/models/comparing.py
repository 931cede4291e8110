"""What differs between the packages of two versions: files, size, requirements, parity. The gate's diffs say the rest."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.digest import short
from tidegate.records.model import Manifest
from tidegate.records.report import Change


def compare_packages(before: Manifest, after: Manifest) -> list[Change]:
    """The differences in the order of the manifest; empty if the packages are the same."""
    changes = _differing({f.path: f"{f.size:,} bytes, {short(f.digest)}" for f in before.files},
                         {f.path: f"{f.size:,} bytes, {short(f.digest)}" for f in after.files}, "file ")  # fmt: skip
    changes += _differing({"parity": parity_text(before)}, {"parity": parity_text(after)})
    changes += _differing({"Python": before.python}, {"Python": after.python})
    changes += _differing(_locked(before), _locked(after), "requires ")
    ours, theirs = after.lineage, before.lineage
    changes += _differing({"code tree": short(theirs.code_tree)}, {"code tree": short(ours.code_tree)})
    return changes + _differing({"declared policy": short(theirs.policy_digest)}, {"declared policy": short(ours.policy_digest)})


def parity_text(manifest: Manifest) -> str:
    """How a package came about and how well it agrees with its model, for people."""
    parity = manifest.parity
    if parity is None:
        return "not known"
    found = f"differs from the estimator by at most {parity.largest_difference:.2g} on {parity.rows} rows"
    if parity.holds:
        return f"{found} ({parity.tolerance:g} is allowed)"
    native = f"native, because of {parity.reason}" if parity.reason else "native"
    return f"{native}; {found}" if parity.rows else native


def _locked(manifest: Manifest) -> dict[str, str]:
    return {line.partition("==")[0]: line.partition("==")[2] for line in manifest.requirements}


def _differing(before: Mapping[str, str], after: Mapping[str, str], prefix: str = "") -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(what=f"{prefix}{name}", before=before.get(name, ""), after=after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    ]

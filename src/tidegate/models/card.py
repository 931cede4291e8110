"""A version's card: what it is for, what it takes and gives, where it comes from, and what the gate found. In Markdown, or as a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidegate.clock import format_time
from tidegate.digest import short
from tidegate.models.comparing import parity_text
from tidegate.models.declared import allowed_text
from tidegate.records.model import Manifest, ModelVersion, Tensor


class CardVerdict(NamedTuple):
    """One verdict of the gate about the version."""

    verdict: str
    snapshot: str
    receipt: str
    at: int
    """Microseconds UTC."""


def write_card(version: ModelVersion, verdicts: Sequence[CardVerdict], roles: Sequence[str]) -> str:
    """The card in Markdown. ``roles`` say where the version stands now, such as ``champion``."""
    manifest = version.manifest
    signature = manifest.signature
    parts = [f"# {_plain(manifest.ref)}"]
    parts += [_plain(manifest.description)] if manifest.description else []
    parts += [manifest.card.strip()] if manifest.card.strip() else []
    parts += ["## Facts", _table(["what", "value"], _facts(version, roles))]
    parts += ["## Takes", _table(["input", "type", "shape", "unit", "allowed", "may be missing"], map(_input, signature.inputs))]
    parts += ["## Gives", _table(["output", "type", "shape"], [_input(tensor)[:3] for tensor in signature.outputs])]
    rows = [(each.verdict, each.snapshot, format_time(each.at), short(each.receipt)) for each in verdicts]
    parts += [
        "## Verdicts of the gate",
        _table(["verdict", "on", "at", "receipt"], rows) if rows else "The gate has not judged it.",
    ]
    parts += [
        "## Files",
        _table(["path", "bytes", "SHA-256"], [(file.path, f"{file.size:,}", file.digest) for file in manifest.files]),
    ]
    if manifest.requirements:
        parts += ["## Requirements", "\n".join(["```text", *manifest.requirements, "```"])]
    return "\n\n".join(parts) + "\n"


def card_page(card: str, title: str) -> str:
    """A card as one HTML page. HTML in the author's text is shown, not used."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("js-default").render(card)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{border:1px solid #8886;padding:.3rem .6rem;text-align:left;overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#8bf}}"
)


def _facts(version: ModelVersion, roles: Sequence[str]) -> list[tuple[str, str]]:
    manifest, lineage = version.manifest, version.manifest.lineage
    dirty = " with uncommitted changes" if lineage.git_dirty else ""
    facts = [
        ("digest", version.digest),
        ("stands as", ", ".join(roles)),
        ("registered", f"{format_time(manifest.created_at)} by {manifest.author or 'unknown'}"),
        ("task", manifest.task + (f", classes {', '.join(manifest.classes)}" if manifest.classes else "")),
        ("format", manifest.format + (" (runs code of its own when it is loaded)" if manifest.loads_code else "")),
        ("size", f"{manifest.size:,} bytes"),
        ("parity", parity_text(manifest)),
        *lineage_facts(manifest, dirty),
    ]
    return [(name, value) for name, value in facts if value]


def lineage_facts(manifest: Manifest, dirty: str) -> list[tuple[str, str]]:
    """Where a version comes from, each fact by its name; empty where it is not known."""
    lineage = manifest.lineage
    return [
        ("trained on", ", ".join(lineage.snapshots)),
        ("run", lineage.run),
        ("pipeline", lineage.pipeline),
        ("code", f"git {lineage.git_commit[:12]}{dirty}" if lineage.git_commit else ""),
        ("code tree", lineage.code_tree),
        ("policy", lineage.policy_digest),
        ("Python", manifest.python),
    ]


def _input(tensor: Tensor) -> list[str]:
    missing = "yes" if tensor.nullable else "no"
    return [tensor.name, tensor.dtype, str(tensor.shape), tensor.unit, allowed_text(tensor), missing]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join(head + [f"| {' | '.join(map(_plain, row))} |" for row in rows])


def _plain(text: str) -> str:
    """Text as it is, whatever signs of Markdown are in it, on one line."""
    joined = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#!" else letter for letter in joined)

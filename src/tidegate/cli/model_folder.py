"""``tidegate model diff | card | export | import``: versions side by side, on paper, and as folders of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.console import Json, counted, next_command, open_workspace, print_json, print_table
from tidegate.errors import ConflictError, UnavailableError, UsageError
from tidegate.models.card import CardVerdict, card_page, write_card
from tidegate.models.comparing import compare_packages
from tidegate.models.mlflow_folder import export_mlflow
from tidegate.records.model import Lineage, ModelVersion
from tidegate.records.names import nearest
from tidegate.records.report import Change

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12, delay@latest or delay@champion.")]
_EXPORTS = ["mlflow"]


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="Such as delay@champion.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Such as delay@latest.")],
    as_json: Json = False,
) -> None:
    """What differs from one version to another: code, data, model and package. Their predictions are the gate's to compare."""
    workspace = open_workspace()
    old, new = workspace.version(before), workspace.version(after)
    found = workspace.diffs(old, new)
    tables: dict[str, list[Change]] = {
        "code": found.code,
        "data": found.data,
        "model": found.model,
        "package": compare_packages(old.manifest, new.manifest),
    }
    if as_json:
        print_json({"before": old.ref, "after": new.ref, **tables})
        return
    for name, changes in tables.items():
        rows = [[change.what, change.before, change.after] for change in changes]
        print_table(name, ["what", old.ref, new.ref], rows, empty="the same")
        typer.echo("")
    next_command(f"tidegate gate {new.ref}")


def card(
    version: Version,
    html: Annotated[bool, typer.Option("--html", help="As an HTML page instead of Markdown.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file.", show_default="standard output")
    ] = None,
    as_json: Json = False,
) -> None:
    """The card of a version: the author's words, signature, parity, lineage, verdicts, requirements."""
    workspace = open_workspace()
    found = workspace.version(version)
    text = write_card(found, verdicts_of(workspace, found), roles_of(workspace, found))
    text = card_page(text, found.ref) if html else text
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UnavailableError("cannot-write", f"cannot write {output}", why=str(error), fix="check the folder") from None
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "card": text, "file": str(output or "")})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(f"the card of {found.ref} is in {output}")
        next_command(f"tidegate model show {found.ref}")


def export_version(
    version: Version,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    form: Annotated[str, typer.Option("--format", metavar="mlflow", help="Whose folder it is to be.")] = "mlflow",
    as_json: Json = False,
) -> None:
    """Write a version as a folder that other tools load: mlflow.pyfunc where Tidegate is installed, mlflow.onnx without it."""
    if form not in _EXPORTS:
        raise UsageError("unknown-export", f"nothing writes folders of {form!r}", fix=nearest(form, _EXPORTS))
    workspace = open_workspace()
    found = workspace.version(version)
    flavors = export_mlflow(workspace.store.bucket, found, folder)
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "folder": str(folder), "flavors": flavors})
        return
    typer.echo(f"{found.ref} is in {folder}, with the flavors {' and '.join(flavors)}")
    if found.manifest.loads_code:
        typer.echo(
            "it runs code of its own when it is loaded: mlflow.pyfunc.load_model(folder, model_config={'allow_code': True})"
        )
    next_command(f"mlflow models serve --env-manager local --model-uri {folder}")


def import_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that MLflow wrote, with an MLmodel file.")],
    name: Annotated[str, typer.Option(metavar="MODEL", help="The model that it becomes a version of.")],
    description: Annotated[str, typer.Option(help="What people should know of it.")] = "",
    as_json: Json = False,
) -> None:
    """Make a version of a folder that MLflow wrote, as it is. Nothing of it runs now; loading it later runs its code."""
    workspace = open_workspace()
    try:
        found = workspace.models.keep_mlflow(folder, name, lineage=Lineage(), description=description)
    except OSError as error:
        raise ConflictError("folder-changed", f"{folder} changed while it was read", why=str(error), fix="try again") from None
    workspace.release.register(found)
    if as_json:
        told: dict[str, Any] = {"version": found.ref, "digest": found.digest, "files": len(found.manifest.files)}
        print_json(told | {"loads_code": True})
        return
    typer.echo(f"{found.ref}: {counted(len(found.manifest.files), 'file')}, {found.manifest.size:,} bytes")
    typer.echo(
        f"loading it runs code that came with it: only a deployment with allow_code = true in [models.{name}.serving] does"
    )
    next_command(f"tidegate model show {found.ref}")


def verdicts_of(workspace: Workspace, version: ModelVersion) -> list[CardVerdict]:
    """What the gate found about a version, oldest first."""
    state = workspace.release.state(version.name)
    receipts = [item.receipt for item in state.judgements if item.version == version.version]
    found = [(digest, workspace.release.receipt(version.name, digest)) for digest in receipts]
    return [CardVerdict(receipt.verdict.value, receipt.snapshot, digest, receipt.judged_at) for digest, receipt in found]


def roles_of(workspace: Workspace, version: ModelVersion) -> list[str]:
    """Where a version serves: champion, candidate of a rollout, names that people gave it; and whether it is quarantined."""
    state = workspace.release.state(version.name)
    roles = [name for name, number in state.names().items() if number == version.version]
    if state.rollout is not None and state.rollout.version == version.version:
        roles.append(f"candidate of a rollout, with {state.rollout.share:.0%} of the requests")
    return roles + ([f"quarantined: {state.quarantined[version.digest]}"] if version.digest in state.quarantined else [])

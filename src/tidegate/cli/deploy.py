"""``tidegate deploy``: the files that run a released model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.records.policy import ServingPolicy
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.deploy import Wanted, find_target, make_deployment, targets, write_files
from tidegate.workspace import Workspace

app = typer.Typer(
    help="Render what runs a model: compose, kubernetes, helm, argo, kserve, systemd.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_TARGETS = "|".join(target.name for target in targets())


@app.command()
def render(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that has a champion.")],
    *,
    target: Annotated[str, typer.Option(metavar=_TARGETS, help="What runs it.")] = "kubernetes",
    image: Annotated[str, typer.Option(help="The image with its digest: registry/name@sha256:DIGEST.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.", show_default="standard output")
    ] = None,
    bucket: Annotated[str, typer.Option(help="Address of the bucket.", show_default="the project's")] = "",
    secret: Annotated[
        str, typer.Option(help="The secret with the bucket's credentials. It is named, never read.", show_default="NAME-bucket")
    ] = "",
    replicas: Annotated[int, typer.Option(help="At least so many pods.")] = 2,
    max_replicas: Annotated[int, typer.Option(help="At most so many, while processors are busy.", show_default="replicas")] = 0,
    grpc: Annotated[bool, typer.Option("--grpc", help="Answer gRPC as well, on port 8001.")] = False,
    namespace: Annotated[str, typer.Option(help="The namespace of everything.", show_default="kubectl's")] = "",
    gateway: Annotated[str, typer.Option(help="A Gateway (Gateway API) to attach a route to.")] = "",
    hostname: Annotated[str, typer.Option(help="The host name of that route.")] = "",
    monitor: Annotated[bool, typer.Option("--monitor", help="A ServiceMonitor for the Prometheus operator.")] = False,
    candidate: Annotated[
        int | None, typer.Option(metavar="VERSION", help="A version that may be promoted, in pods of its own.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="The share of requests that these pods get, 0 to 1; Argo takes steps of its own.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Write the files that run a model's champion, and follow its pointer. No secret is ever in them."""
    chosen = find_target(target)
    workspace = open_workspace()
    settings = workspace.project.settings
    wanted = Wanted(
        image=image,
        bucket=bucket or settings.bucket,
        store=str(workspace.project.store),
        secret=secret,
        replicas=replicas,
        max_replicas=max_replicas,
        grpc=grpc,
        namespace=namespace,
        monitor=monitor,
        gateway=gateway,
        hostname=hostname,
        share=share,
    )
    deployment = _deployment(workspace, model, wanted, candidate, contained=chosen.contained)
    files = chosen.render(deployment)
    if output is not None:
        write_files(files, output)
    if as_json:
        print_json({"target": chosen.name, "deployment": deployment, "files": files, "folder": str(output) if output else None})
        return
    if output is None:
        for path, text in files.items():
            typer.echo(f"# {path}\n{text}" if len(files) > 1 else text, nl=False)
        return
    for path in files:
        typer.echo(f"wrote {output / path}")
    next_command(chosen.apply(deployment, str(output)))


@app.command("targets")
def list_targets(as_json: Json = False) -> None:
    """What can be rendered."""
    if as_json:
        print_json([{"name": target.name, "about": target.about} for target in targets()])
        return
    print_table("", ["target", "what is rendered"], [[target.name, target.about] for target in targets()])
    next_command("tidegate deploy render MODEL --target kubernetes --image registry/name@sha256:DIGEST")


def _deployment(workspace: Workspace, model: str, wanted: Wanted, candidate: int | None, *, contained: bool) -> Deployment:
    name, _, version = model.partition("@")
    if version not in {"", "champion"}:
        raise UsageError(
            "version-not-wanted",
            f"{model!r} names a version",
            why="what is deployed follows the pointer, so that a rollback reaches it",
            fix=f"tidegate deploy render {name}; --candidate VERSION for one beside it",
        )
    champion = workspace.version(f"{name}@champion")
    declared = workspace.policies.get(name)
    other = None
    if candidate is not None:
        plan = workspace.release.plan(name, candidate, policy=workspace.policy(name))
        if plan.refusal:
            raise plan.refusal  # the first live request needs what a promotion needs
        other = workspace.models.get(f"{name}@{candidate}")
    return make_deployment(
        champion,
        wanted,
        policy=declared.serving if declared else ServingPolicy(),
        plan=declared.rollout if declared else RolloutPolicy(),
        folder=workspace.project.folder,
        candidate=other,
        contained=contained,
    )

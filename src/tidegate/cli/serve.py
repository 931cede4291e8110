"""``tidegate serve``: models over HTTP and gRPC. It opens the bucket alone."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tidegate.cli.flags import flags
from tidegate.errors import UsageError
from tidegate.models.signing import read_trusted_keys
from tidegate.records.names import Reference, parse_reference
from tidegate.records.policy import ServingPolicy
from tidegate.serving import Address, Offer
from tidegate.serving import serve as run_server
from tidegate.settings import Project, load_project, vertex
from tidegate.store.bucket import open_bucket

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SAGEMAKER = "serve"
"""SageMaker starts the image of a model with this word behind the image's own command."""


@app.command()
def serve(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL[@VERSION]...", help="With a version, that model's pointer is not followed.")
    ],
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; 0.0.0.0 for all.", show_default="127.0.0.1; all of them on Vertex AI"),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="0 takes a free one.", min=0, max=65535, show_default="8080; AIP_HTTP_PORT on Vertex AI")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Answer gRPC as well, here; 0 takes a free one.", min=0, max=65535, show_default="no gRPC")
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option(metavar="MODEL@VERSION", help="A version that can be asked by its number. Repeatable.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Folder of the store.", show_default="the project's")] = None,
    bucket: Annotated[str | None, typer.Option(help="URL of the bucket.", show_default="the project's")] = None,
) -> None:
    """Serve models over HTTP and gRPC, and follow their pointers until it is told to stop (SIGTERM, Ctrl-C)."""
    if len(names) > 1 and names[-1] == _SAGEMAKER:
        names = names[:-1]
    models = [_reference(name, "serve") for name in names]
    pins = [_reference(name, "--pin") for name in pin or []]
    _check_pins(models, pins)
    given = {"store": store, "bucket": bucket}
    project = load_project(flags().folder, flags().settings | {key: value for key, value in given.items() if value})
    place = project.settings.bucket
    opened = open_bucket(place, project.store / "cache") if place else open_bucket(project.store)
    cloud = vertex()
    address = Address(
        host=host or ("0.0.0.0" if cloud.port else "127.0.0.1"),  # noqa: S104 - its contract
        port=port if port is not None else cloud.port or 8080,
        grpc_port=grpc_port,
        health_path=cloud.health_path,
        predict_path=cloud.predict_path,
    )
    run_server(opened, [_offer(project, model, pins) for model in models], address=address, ready=_say)


def _reference(name: str, what: str) -> Reference:
    reference = parse_reference(name, "model")
    if (reference.version or what == "--pin") and reference.number is None:
        raise UsageError(
            "version-not-wanted",
            f"{name!r} names no fixed version",
            why="a server follows the pointer, or serves one version by its number",
            fix=f"tidegate serve {reference.name}, or {reference.name}@N",
        )
    return reference


def _check_pins(models: list[Reference], pins: list[Reference]) -> None:
    names = [model.name for model in models]
    for pin in pins:
        if pin.name not in names:
            raise UsageError(
                "bad-models", f"{pin} is pinned, {pin.name} is not served", fix=f"tidegate serve {pin.name} --pin {pin}"
            )


def _offer(project: Project, model: Reference, pins: list[Reference]) -> Offer:
    policy = _policy(project, model.name)
    return Offer(
        name=model.name,
        version=model.number or 0,
        pins=tuple(pin.number for pin in pins if pin.name == model.name and pin.number),
        policy=policy,
        signed_by=tuple(read_trusted_keys(policy.signed_by, project.folder)),
    )


def _policy(project: Project, name: str) -> ServingPolicy:
    table = project.policies.get(name, {})
    try:
        return msgspec.convert(table.get("serving", {}), ServingPolicy)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad-policy",
            f"[models.{name}.serving] cannot be read: {error}",
            fix=f"its keys are {', '.join(ServingPolicy.__struct_fields__)}",
        ) from None


def _say(line: str) -> None:
    typer.echo(line)  # echo flushes: who waits for the line gets it at once

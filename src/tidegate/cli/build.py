"""``tidegate build``: images of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, transfer
from tidegate.cli.model_transfer import PlainHttp, registry
from tidegate.errors import UsageError
from tidegate.models.folder import new_folder
from tidegate.models.oci import is_artifact, parse_artifact
from tidegate.models.oci.image import BuiltImage, Content, build_layout, image_files, key_files, write_context
from tidegate.models.oci.layout import ImageLayout
from tidegate.models.package import runs_code
from tidegate.models.signing import find_signatures, read_trusted_keys, require_signature
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ServingPolicy
from tidegate.settings import Settings

app = typer.Typer(
    help="Images of a model: a Dockerfile, and an OCI layout without any engine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def build() -> None:
    """Images of a model: a Dockerfile, and an OCI layout without any engine."""


@app.command()
def image(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12 or delay@champion.")],
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A new folder.", show_default="MODEL-VERSION-image")] = None,
    base: Annotated[
        str,
        typer.Option(
            metavar="oci://...|FOLDER",
            help="An image that can run Tidegate: in a registry, or an OCI layout.",
            show_default="none: only the Dockerfile",
        ),
    ] = "",
    platform: Annotated[str, typer.Option(metavar="OS/MACHINE", help="Which of a base for several.")] = "linux/amd64",
    plain_http: PlainHttp = None,
    as_json: Json = False,
) -> None:
    """Write a Dockerfile that serves a version; with a base also the finished image, as an OCI layout. No engine is needed."""
    if platform.count("/") != 1:
        raise UsageError("bad-platform", f"{platform!r} is no platform", fix="write it like linux/amd64")
    workspace = open_workspace()
    found = workspace.version(version)
    declared = workspace.policies.get(found.name)
    policy = declared.serving if declared else ServingPolicy()
    folder = workspace.project.folder
    trusted = read_trusted_keys(policy.signed_by, folder)
    signatures = find_signatures(workspace.store.bucket, found)
    if trusted:
        require_signature(signatures, found, trusted)
    if found.manifest.loads_code and not policy.allow_code:
        raise runs_code(found)
    keys = key_files(trusted, lambda name: (folder / Path(name).expanduser()).read_bytes())
    files = image_files(workspace.store.bucket, found, policy, signatures, keys)
    target = to or Path(f"{found.name}-{found.version}-image")
    wanted = _Wanted(files, found, platform, plain_http)
    built: BuiltImage | None = None
    with new_folder(target) as part:
        pinned = ""
        if base:
            built, pinned = _build(part / "oci", base, wanted, workspace.project.settings)
        write_context(part, files, found, pinned)
    if as_json:
        told = {"version": found.ref, "digest": found.digest, "folder": str(target), "base": pinned}
        print_json(told | {"image": built.digest if built else "", "bytes": built.size if built else 0})
        return
    typer.echo(f"{target}/Dockerfile serves {found.ref}" + (f" on {pinned}" if pinned else ""))
    if built:
        typer.echo(f"{target}/oci is the image {built.digest}, {built.size:,} bytes")
        next_command(f"skopeo copy oci:{target}/oci docker://...")
    else:
        next_command(f"docker build --build-arg BASE=python:3.12-slim@sha256:... {target}")


class _Wanted(NamedTuple):
    files: dict[str, Content]
    version: ModelVersion
    platform: str
    plain_http: bool | None


def _build(folder: Path, base: str, wanted: _Wanted, settings: Settings) -> tuple[BuiltImage, str]:
    """The image, and its base by its digest where it is in a registry."""
    folder.mkdir()
    done = 0
    with transfer(f"building {wanted.version.ref}") as moved:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            moved(done, done)

        if is_artifact(base):
            place = parse_artifact(base)
            # The registry of the base is another than one's own: it gets what docker login said, never the setting.
            anonymous = settings.model_copy(update={"registry_user": ""})
            with registry(place, anonymous, wanted.plain_http) as source:
                digest = source.get_manifest(place.wanted).digest
                built = build_layout(
                    source, digest, wanted.files, wanted.version, folder, platform=wanted.platform, progress=progress
                )
            return built, f"{place.name}{f':{place.tag}' if place.tag else ''}@{digest}"
        path, _, tag = base.partition(":")
        source = ImageLayout.open(Path(path))
        return build_layout(source, tag, wanted.files, wanted.version, folder, platform=wanted.platform, progress=progress), ""

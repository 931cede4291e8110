"""``tidegate model sign | push | pull``: versions that leave this project, or come into it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.console import Json, counted, next_command, open_workspace, print_json, transfer
from tidegate.cli.flags import flags
from tidegate.digest import short
from tidegate.errors import BadInputError, UsageError
from tidegate.models.folder import write_folder
from tidegate.models.oci import (
    ArtifactReference,
    Connection,
    Credentials,
    Pulled,
    Registry,
    find_credentials,
    is_artifact,
    parse_artifact,
    pull,
    push,
)
from tidegate.models.signing import SIGNATURES, TrustedKey, find_signatures, read_trusted_keys
from tidegate.settings import Settings, docker_config, load_project

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

PlainHttp = Annotated[
    bool | None,
    typer.Option("--plain-http/--tls", help="Without TLS, or with.", show_default="TLS, except to a registry on this machine"),
]
_Moved = Callable[[int, int], None]


def sign(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12 or delay@latest.")],
    as_json: Json = False,
) -> None:
    """Sign a version with the setting signing_key (ECDSA P-256), in the format of OpenSSF Model Signing."""
    workspace = open_workspace()
    found = workspace.version(version)
    key = workspace.project.settings.signing_key.get_secret_value()
    if not key:
        raise UsageError(
            "no-signing-key",
            f"{found.ref} cannot be signed",
            why="no signing_key is set",
            fix="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem, then set TIDEGATE_SIGNING_KEY=key.pem",
        )
    signature = workspace.models.sign(found, key)
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "key": signature.key_id, "signature": signature.file})
        return
    typer.echo(f"{found.ref} is signed by the key {short(signature.key_id)}")
    next_command(f"tidegate model push {found.ref} oci://...")


def push_version(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12 or delay@champion.")],
    place: Annotated[
        str, typer.Argument(metavar="oci://HOST/REPOSITORY[:TAG]", help="The tag is the version's number by default.")
    ],
    plain_http: PlainHttp = None,
    as_json: Json = False,
) -> None:
    """Push a version with its signatures to an OCI registry, as a ModelPack artifact. What is there is not sent again."""
    reference = parse_artifact(place)
    workspace = open_workspace()
    found = workspace.version(version)
    with registry(reference, workspace.project.settings, plain_http) as opened, transfer(f"pushing {found.ref}") as moved:
        pushed = push(workspace.store.bucket, found, opened, reference, moved=moved)
    if as_json:
        told: dict[str, Any] = {"version": found.ref, "digest": found.digest}
        print_json(told | {"artifact": pushed.reference.pinned, "bytes": pushed.size, "sent": pushed.sent})
        return
    typer.echo(f"{found.ref} is {pushed.reference}")
    typer.echo(f"sent {pushed.sent:,} of {pushed.size:,} bytes{', the rest was there' if pushed.sent < pushed.size else ''}")
    next_command(f"tidegate model pull {pushed.reference.pinned}")


def pull_version(
    source: Annotated[
        str, typer.Argument(metavar="MODEL@VERSION|oci://...", help="A version here, or an artifact in a registry.")
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write it to this folder.", show_default="an artifact becomes a version")
    ] = None,
    plain_http: PlainHttp = None,
    as_json: Json = False,
) -> None:
    """Pull a version into a folder, or an artifact from an OCI registry into a folder or this project. Digests are checked."""
    if not is_artifact(source):
        _pull_to_folder(source, to, as_json)
        return
    reference = parse_artifact(source)
    if to is not None:
        settings = load_project(flags().folder, flags().settings).settings
        with registry(reference, settings, plain_http) as opened, transfer(f"pulling {reference}") as moved:
            pulled = pull(opened, reference, to, moved=moved)
        _tell(pulled, str(to), as_json)
        if not as_json and pulled.version:
            next_command(f"tidegate model pull {pulled.reference.pinned}")
        return
    workspace = open_workspace()
    with tempfile.TemporaryDirectory(prefix="pull-", dir=workspace.store.root) as folder:
        place = Path(folder) / "package"
        with registry(reference, workspace.project.settings, plain_http) as opened, transfer(f"pulling {reference}") as moved:
            pulled = pull(opened, reference, place, moved=moved)
        if pulled.version is None:
            raise BadInputError(
                "not-a-package",
                f"{pulled.reference} is no package of Tidegate",
                why="it has no manifest.json beside files/, so nobody knows what it takes and gives",
                fix="pull it into a folder with --to, and use it with the tools that it was made for",
            )
        version = workspace.models.adopt(place, signed_by=trusted_keys(workspace, pulled.version.name))
    workspace.release.register(version)
    _tell(pulled, "", as_json)
    if not as_json:
        next_command(f"tidegate model show {version.ref}")


def trusted_keys(workspace: Workspace, model: str) -> tuple[TrustedKey, ...]:
    """The keys that the policy of a model trusts; none where it has no policy, or asks for no signature."""
    policy = workspace.policies.get(model)
    return read_trusted_keys(policy.serving.signed_by, workspace.project.folder) if policy else ()


@contextmanager
def registry(place: ArtifactReference, settings: Settings, plain_http: bool | None) -> Generator[Registry]:
    """The registry of a reference, with the credentials of the settings or of ``docker login``."""
    password = settings.registry_password.get_secret_value()
    known = Credentials(settings.registry_user, password) if settings.registry_user else None
    connection = Connection(place, credentials=known or find_credentials(place.host, docker_config()), plain_http=plain_http)
    try:
        yield Registry(connection)
    finally:
        connection.close()


def _pull_to_folder(source: str, to: Path | None, as_json: bool) -> None:
    workspace = open_workspace()
    found = workspace.version(source)
    folder = to or Path(f"{found.name}-{found.version}")
    done = 0
    with transfer(f"pulling {found.ref}") as moved:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            moved(done, found.manifest.size)

        signatures = write_folder(workspace.store.bucket, found, folder, advance=advance)
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "folder": str(folder), "signatures": signatures})
        return
    keys = sorted({short(signature.key_id) for signature in find_signatures(workspace.store.bucket, found)})
    typer.echo(
        f"{found.ref} is in {folder}: {counted(len(found.manifest.files), 'file')}, signed by {', '.join(keys) or 'nobody'}"
    )
    next_command(
        f"model_signing verify key {folder} --signature {folder}/{signatures[0]} --public_key key.pub"
        if signatures
        else f"tidegate model sign {found.ref}"
    )


def _tell(pulled: Pulled, folder: str, as_json: bool) -> None:
    version = pulled.version
    signatures = [path for path in pulled.files if path.startswith(f"{SIGNATURES}/")]
    if as_json:
        told = {"artifact": pulled.reference.pinned, "bytes": pulled.size, "files": pulled.files, "folder": folder}
        known = {"version": version.ref, "digest": version.digest} if version else {"version": "", "digest": ""}
        print_json(known | told)
        return
    typer.echo(f"{pulled.reference.pinned}")
    what = f"{version.ref}, digest {short(version.digest)}" if version else "a model of other tools"
    place = f"in {folder}" if folder else "a version of this project"
    typer.echo(f"it is {what}: {counted(len(pulled.files), 'file')}, {counted(len(signatures), 'signature')}, {place}")
    if version and version.manifest.loads_code:
        typer.echo("it runs code of its own when it is loaded: look at files/ before you allow that")

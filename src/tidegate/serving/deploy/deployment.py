"""From a released version and a few words to a checked deployment. Nothing that is rendered was not looked at here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from tidegate import digest as digests
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.deployment import Deployment, Pinned
from tidegate.records.model import ModelVersion
from tidegate.records.names import check_name
from tidegate.records.policy import ServingPolicy
from tidegate.records.rollout import RolloutPolicy

BASE_MIB = 256
"""Memory of a serving process without a model."""
_PER_BYTE = 4  # a package is read, checked and unpacked, and two versions are loaded while they are swapped
_STEP_MIB = 64
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}"
)
_BUCKET = re.compile(r"[a-z0-9]+://[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")
_MOST_REPLICAS = 1000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a deployment."""

    image: str = ""
    bucket: str = ""
    store: str = ""
    secret: str = ""
    """Empty: the deployment's name and ``-bucket``."""
    replicas: int = 2
    max_replicas: int = 0
    grpc: bool = False
    namespace: str = ""
    monitor: bool = False
    gateway: str = ""
    hostname: str = ""
    share: float = 0.0


def make_deployment(
    champion: ModelVersion,
    wanted: Wanted,
    *,
    policy: ServingPolicy,
    plan: RolloutPolicy,
    folder: Path,
    candidate: ModelVersion | None = None,
    contained: bool = True,
) -> Deployment:
    """Checks everything that would end up in a file.

    Args:
        champion: The version that the pointer names.
        wanted: What the user says.
        policy: What the project declares about serving this model.
        plan: What it declares about rollouts.
        folder: The project's folder, where the keys lie that the policy names.
        candidate: The version that answers ``wanted.share`` of the requests.
        contained: Whether an image is run.

    Raises:
        UsageError: the image has no digest, or a name, address or number cannot be one, or requests are shared already.
        NotFoundError: a key that the policy names is not there.
    """
    check_name(champion.name, "model")
    name = dns_label(champion.name)
    if contained:
        _check_image(wanted.image)
    _check(wanted.bucket, _BUCKET, "bucket", "an address like s3://name/prefix")
    _check(
        "" if wanted.bucket else wanted.store,
        _FOLDER,
        "store",
        "an absolute path of letters, digits, dots, dashes and underscores",
    )
    for key in ("namespace", "gateway", "secret"):
        _check(getattr(wanted, key), _LABEL, key, "small letters, digits and dashes, at most 63", most=63)
    _check(wanted.hostname, _HOST, "hostname", "a DNS name", most=253)
    if not 1 <= wanted.replicas <= _MOST_REPLICAS or not (
        wanted.max_replicas == 0 or wanted.replicas <= wanted.max_replicas <= _MOST_REPLICAS
    ):
        raise UsageError(
            "bad-option",
            f"{wanted.replicas} to {wanted.max_replicas or wanted.replicas} replicas cannot be",
            fix=f"give 1 to {_MOST_REPLICAS}, and no fewer at most than at least",
        )
    _check_candidate(wanted, candidate, plan)
    size = max(version.manifest.size for version in (champion, candidate or champion))
    return Deployment(
        model=champion.name,
        name=name,
        champion=Pinned(version=champion.version, digest=champion.digest),
        image=wanted.image if contained else "",
        bucket=wanted.bucket,
        store="" if wanted.bucket else wanted.store,
        secret=wanted.secret or f"{name[:56]}-bucket",
        settings=_settings(champion.name, policy, folder),
        memory_mib=-(-(BASE_MIB + _PER_BYTE * size // 2**20) // _STEP_MIB) * _STEP_MIB,
        replicas=wanted.replicas,
        max_replicas=wanted.max_replicas if wanted.max_replicas > wanted.replicas else 0,
        grpc=wanted.grpc,
        namespace=wanted.namespace,
        monitor=wanted.monitor,
        gateway=wanted.gateway,
        hostname=wanted.hostname,
        candidate=Pinned(version=candidate.version, digest=candidate.digest) if candidate else None,
        share=wanted.share,
    )


def dns_label(name: str) -> str:
    """A model's name as a DNS label of at most 45 characters, so that suffixes fit. Names that would become the same stay apart.

    It begins with a letter: a Service is called so.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name and len(name) <= 45 and name[0].isalpha():
        return name
    begun = plain if plain[:1].isalpha() else f"m-{plain}"
    return f"{begun[:36].rstrip('-')}-{digests.of_bytes(name.encode())[:8]}"


def _check_candidate(wanted: Wanted, candidate: ModelVersion | None, plan: RolloutPolicy) -> None:
    if not 0 <= wanted.share <= 1 or (wanted.share > 0 and candidate is None):
        raise UsageError(
            "bad-option",
            f"a share of {wanted.share} cannot be" if candidate else "a share without a candidate says nothing",
            fix="give a share between 0 and 1 together with --candidate VERSION",
        )
    if candidate and plan.mode != "shadow":
        raise UsageError(
            "mode-not-shadow",
            f"the declared rollout of {candidate.name} has the mode {plan.mode}",
            why="there the server itself shares requests, and a share of pods would come on top of it",
            fix=f'[models.{candidate.name}.rollout] mode = "shadow"; or let the server do it: docs/how-to/rollouts.md',
        )


def _check_image(image: str) -> None:
    if not image:
        raise UsageError(
            "image-missing",
            "no image is named",
            why="a container runs one",
            fix="--image registry/name@sha256:DIGEST; tidegate build image makes one",
        )
    if not _IMAGE.fullmatch(image):
        raise UsageError(
            "image-not-pinned",
            f"{image[:200]!r} does not say which image it is",
            why="a tag can be moved: what runs would change without anybody deciding it",
            fix="write it with its digest: registry/name@sha256:DIGEST",
        )


def _check(value: str, pattern: re.Pattern[str], key: str, wanted: str, *, most: int = 500) -> None:
    if value and (not pattern.fullmatch(value) or len(value) > most or ".." in value):
        raise UsageError(
            "bad-option", f"{value[:100]!r} cannot be a {key}", why=f"it takes {wanted}", fix=f"choose another --{key}"
        )


def _settings(model: str, policy: ServingPolicy, folder: Path) -> dict[str, str]:
    """The part of the project that a server reads, with the keys beside it."""
    files: dict[str, str] = {}
    table: dict[str, Any] = msgspec.to_builtins(policy)
    names: list[str] = []
    for number, path in enumerate(policy.signed_by, 1):
        key = folder / Path(path).expanduser()
        if not key.is_file():
            raise NotFoundError(
                "file-not-found", f"no file {key}", why=f"[models.{model}.serving] names it in signed_by", fix="check the path"
            )
        names.append(f"signer-{number}.pem")
        files[names[-1]] = key.read_text(encoding="ascii", errors="replace")
    table["signed_by"] = names
    lines = [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
    return {"tidegate.toml": "\n".join([f"[models.{json.dumps(model)}.serving]", *lines, ""]), **files}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs: dict[str, Any] = value
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in pairs.items()) + " }"
    if isinstance(value, list):
        items: list[Any] = value
        return "[" + ", ".join(map(_toml, items)) + "]"
    return json.dumps(value)  # of texts, numbers and booleans TOML reads what JSON writes

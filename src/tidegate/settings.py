"""One typed settings object. Who wins: flags, then ``TIDEGATE_*`` variables, then ``tidegate.toml``, then
``[tool.tidegate]`` in ``pyproject.toml``, then the defaults.

Policies (``[models.NAME]``) and ``[roles]`` stand in the same file and are read by ``tidegate.gate.policy``; here they are passed
through as they are.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from tidegate.errors import UsageError, without_passwords

FILE = "tidegate.toml"
_POLICIES = "models"
_ROLES = "roles"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def process_rank() -> int:
    """This process's place among those of one training, as launchers tell it in RANK; 0 if nobody says so."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdigit() else 0


def docker_config() -> Path:
    """The file in which ``docker login``, podman or skopeo keep credentials for registries."""
    named = os.environ.get("REGISTRY_AUTH_FILE", "")
    return Path(named) if named else Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


class Vertex(NamedTuple):
    """What Vertex AI tells the container of a model: the port, and the paths that it asks. 0 and empty elsewhere."""

    port: int
    health_path: str
    predict_path: str


def vertex() -> Vertex:
    """What Vertex AI tells in its ``AIP_`` variables."""
    port, health, predict = (os.environ.get(f"AIP_{name}", "") for name in ("HTTP_PORT", "HEALTH_ROUTE", "PREDICT_ROUTE"))
    return Vertex(int(port) if port.isdecimal() else 0, health, predict)


class Settings(BaseSettings):
    """The settings of one project. Every field has a variable ``TIDEGATE_<NAME>`` and a key in ``tidegate.toml``."""

    model_config = SettingsConfigDict(env_prefix="TIDEGATE_", extra="forbid", frozen=True)

    store: Path = Field(default=Path(".tidegate"), description="folder of the store, relative to the project's folder")
    server: str = Field(default="", description="URL of a Tidegate server that has the store; nothing but journals is local then")
    token: SecretStr = Field(default=SecretStr(""), description="the shared secret that the server asks for, or is asked for")
    database: str = Field(default="", description="URL of a Postgres database instead of SQLite in the store's folder")
    bucket: str = Field(default="", description="URL of a bucket (s3://, gs://, az://) instead of the store's folder")
    actor: str = Field(default_factory=_user, description="who acts: recorded with every run, version and ledger entry")
    allow_ungated: bool = Field(
        default=False, description="whether an MLflow client may make a champion that passed no gate; it is recorded as ungated"
    )
    signing_key: SecretStr = Field(
        default=SecretStr(""),
        description="private key in PEM, or the path of one from the project's folder, that signs receipts (ECDSA P-256 or Ed25519) "
        "and models (ECDSA P-256)",
    )
    registry_user: str = Field(
        default="", description="who you are to the OCI registry that a command names; empty: docker login"
    )
    registry_password: SecretStr = Field(default=SecretStr(""), description="the password or token of registry_user")
    checkpoint_bucket: str = Field(
        default="", description="a second place for signed checkpoints of ledgers: a folder, or the URL of another bucket"
    )
    checkpoint_tags: bool = Field(
        default=False, description="whether checkpoints become annotated tags in the project's git repository"
    )
    webhooks: list[SecretStr] = Field(default=[], description="URLs that get a signed POST for what happens to releases; secret")
    webhook_secret: SecretStr = Field(default=SecretStr(""), description="what webhooks are signed with: whsec_ and base64")
    webhook_networks: list[IPvAnyNetwork] = Field(
        default=[], description="networks of your own that webhooks may reach, such as 10.2.0.0/16; others must be public"
    )
    notify: list[SecretStr] = Field(
        default=[], description="addresses of Apprise (slack://, mailto://, ...) that are told the same"
    )
    offline: bool = Field(
        default=False, description="whether runs are recorded without the store, to be shipped by tidegate sync"
    )
    run_id: str = Field(default="", description="the id of the run that every rank of one training writes to; rank 0 begins it")
    now: str = Field(default="", description="a fixed time (ISO 8601) instead of the system's, for replays; records say so")

    @classmethod
    def settings_customise_sources(  # the signature is pydantic-settings'
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load_project`` hands in: it has already put the sources in order."""
        return (init_settings,)


class Explained(NamedTuple):
    """One setting: its value (without secrets), where it was set, and what it means."""

    name: str
    value: str
    source: str
    meaning: str


class Project(NamedTuple):
    """A project's folder, its settings, who set them, and the policies of its models as they stand in the file."""

    folder: Path
    settings: Settings
    explained: list[Explained]
    policies: dict[str, Any]
    policy_file: Path | None

    @property
    def store(self) -> Path:
        """The store's folder, absolute."""
        return (self.folder / self.settings.store).resolve()


def find_project(start: Path) -> Path:
    """The nearest folder, from ``start`` upwards, with a ``tidegate.toml`` or a ``[tool.tidegate]``; else ``start``."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or _tool_table(folder / "pyproject.toml") is not None:
            return folder
    return start


def load_project(start: Path, flags: Mapping[str, Any] | None = None) -> Project:
    """Reads the settings of the project around ``start``.

    Raises:
        UsageError: there is no such folder, a file is no TOML, a key is unknown, or a value has the wrong type; the error
            says which.
    """
    if not start.is_dir():
        raise UsageError("no-such-folder", f"no folder {start}", fix="check the path; a new project starts with tidegate init")
    folder = find_project(start.resolve())
    table = read_toml(folder / FILE) if (folder / FILE).is_file() else {}
    tool = _tool_table(folder / "pyproject.toml") or {}
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
        ("environment", EnvSettingsSource(Settings)()),
        (FILE, {key: value for key, value in table.items() if key not in {_POLICIES, _ROLES}}),
        ("pyproject.toml", {key: value for key, value in tool.items() if key not in {_POLICIES, _ROLES}}),
    ]
    for source, layer in layers:
        _refuse_unknown(source, layer)
    merged: dict[str, Any] = {}
    for _, layer in reversed(layers):
        merged.update(layer)
    if isinstance(key := merged.get("signing_key"), str) and key and "-----BEGIN" not in key:
        merged["signing_key"] = str(folder / os.path.expanduser(key))  # noqa: PTH111 - pathlib raises for a user who is not there
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        source = next((source for source, layer in layers if name in layer), "default")
        raise UsageError(
            "bad-setting",
            f"the setting {name!r} cannot be {_shown(name, repr(merged.get(name)))}",
            why=f"{first['msg']} (set by: {source})",
            fix=f"{name}: {Settings.model_fields[name].description}",
        ) from None
    explained = [
        Explained(
            name,
            _shown(name, str(getattr(settings, name))),
            next((source for source, layer in layers if name in layer), "default"),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    policies, policy_file = _policies(folder, table, tool)
    return Project(folder, settings, explained, policies, policy_file)


def _shown(name: str, value: str) -> str:
    """A setting's value as people and logs may see it."""
    is_secret = name in Settings.model_fields and SecretStr.__name__ in str(Settings.model_fields[name].annotation)
    return "**********" if is_secret and value not in {"", "[]"} else without_passwords(value)


def read_policies(folder: Path) -> dict[str, Any]:
    """The policies as they stand in the project's file now: they may be edited while a server runs.

    Raises:
        UsageError: a file is no TOML any more.
    """
    table = read_toml(folder / FILE) if (folder / FILE).is_file() else {}
    return _policies(folder, table, _tool_table(folder / "pyproject.toml") or {})[0]


def read_roles(folder: Path) -> dict[str, Any]:
    """The table ``[roles]`` as it stands in the project's file now, beside the policies.

    Raises:
        UsageError: a file is no TOML any more.
    """
    table = read_toml(folder / FILE) if (folder / FILE).is_file() else {}
    tool = _tool_table(folder / "pyproject.toml") or {}
    return table.get(_ROLES) or tool.get(_ROLES, {})


def _policies(folder: Path, table: Mapping[str, Any], tool: Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    in_file = _POLICIES in table or not tool.get(_POLICIES)
    policies = table_at(table if in_file else tool, _POLICIES)
    return policies, folder / (FILE if in_file else "pyproject.toml") if policies else None


def _refuse_unknown(source: str, layer: Mapping[str, Any]) -> None:
    unknown = sorted(set(layer) - set(Settings.model_fields))
    if unknown:
        raise UsageError(
            "unknown-setting",
            f"{source} sets {unknown[0]!r}, which is no setting",
            why=f"settings are: {', '.join(Settings.model_fields)}",
            fix=f"write [{_POLICIES}.NAME]" if unknown[0].rstrip("s") == _POLICIES.rstrip("s") else "tidegate settings explain",
        )


def _tool_table(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    tool = table_at(read_toml(path), "tool")
    return table_at(tool, "tidegate") if "tidegate" in tool else None


def table_at(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The table that stands at ``keys`` of another; empty if nothing stands there.

    Raises:
        UsageError: something else than a table stands there.
    """
    found: Any = table
    for place, key in enumerate(keys):
        found = found.get(key, {})
        if not isinstance(found, dict):
            where = ".".join(keys[: place + 1])
            raise UsageError("bad-toml", f"{where} is not a table", fix=f"write [{where}] above its keys")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        OSError: it cannot be opened.
        UsageError: it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("bad-toml", f"{path} is not TOML", why=str(error), fix="mend the line that is named") from None

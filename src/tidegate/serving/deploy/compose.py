"""Compose: one service on one host, for a machine without an orchestrator or for trying out what the others run."""

from __future__ import annotations

from typing import Any

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.serving.deploy.documents import dump, header
from tidegate.serving.deploy.pod import GRACE_SECONDS, GRPC_PORT, PORT, PROJECT, SCRATCH, THREADS, USER, arguments, released

_READY = f"import urllib.request as web; web.urlopen('http://127.0.0.1:{PORT}/v2/health/ready', timeout=2)"


class ComposeTarget:
    """See ``Target``."""

    name = "compose"
    about = "one hardened service for docker compose"
    contained = True

    def render(self, deployment: Deployment) -> dict[str, str]:
        if deployment.candidate:
            raise UsageError(
                "bad-option",
                "one service of Compose cannot share requests between two",
                fix="declare a rollout and let the server do it: docs/how-to/serve-a-model.md",
            )
        whole = {"name": deployment.name, "services": {deployment.name: _service(deployment)}, "volumes": {"scratch": {}}}
        files = {f"project/{name}": text for name, text in deployment.settings.items()}
        return {"compose.yaml": header(deployment, self.name) + dump([whole]), **files}

    def apply(self, deployment: Deployment, folder: str) -> str:
        del deployment
        return f"docker compose --file {folder}/compose.yaml up --detach"


def _service(deployment: Deployment) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"type": "bind", "source": "./project", "target": PROJECT, "read_only": True},
        {"type": "volume", "source": "scratch", "target": SCRATCH},
    ]
    credentials: dict[str, Any] = {"env_file": [{"path": f"{deployment.secret}.env", "required": True}]}
    if not deployment.bucket:
        volumes.append({"type": "bind", "source": f"{deployment.store}/bucket", "target": f"{SCRATCH}/bucket"})
        credentials = {}
    return {
        "image": deployment.image,
        "command": ["tidegate", *arguments(deployment)],
        "entrypoint": [],
        "user": f"{USER}:{USER}",
        "environment": {**THREADS, "HOME": "/tmp"},  # noqa: S108 - inside the container
        **credentials,
        "labels": released(deployment, deployment.champion),
        "ports": [f"127.0.0.1:{port}:{port}" for port in (PORT, *([GRPC_PORT] if deployment.grpc else []))],
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
        "volumes": volumes,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 128,
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": f"{GRACE_SECONDS}s",
        "healthcheck": {
            "test": ["CMD", "python", "-c", _READY],
            "interval": "5s",
            "timeout": "3s",
            "retries": 3,
            "start_period": "60s",
        },
        "deploy": {
            "resources": {
                "limits": {"cpus": "1", "memory": f"{deployment.memory_mib}M", "pids": 128},
                "reservations": {"cpus": "1", "memory": f"{deployment.memory_mib}M"},
            }
        },
    }

"""systemd: a unit for a host without containers. It runs as a user that exists only while it runs, and may write nowhere else.

Source: systemd.exec(5), systemd.resource-control(5); ``systemd-analyze security`` grades it.
"""

from __future__ import annotations

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.serving.deploy.documents import header
from tidegate.serving.deploy.pod import DRAIN_SECONDS, PORT, THREADS, grpc_arguments

_HARDENED = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",  # a library that asks for a processor of its own is told no, not killed
    "UMask=0077",
)


class SystemdTarget:
    """See ``Target``."""

    name = "systemd"
    about = "a hardened unit for a host without containers"
    contained = False

    def render(self, deployment: Deployment) -> dict[str, str]:
        if deployment.candidate:
            raise UsageError(
                "bad-option",
                "one unit cannot share requests between two versions",
                fix="declare a rollout and let the server do it: docs/how-to/serve-a-model.md",
            )
        files = {f"{_place(deployment)}/{name}": text for name, text in deployment.settings.items()}
        return {f"{_unit(deployment)}.service": header(deployment, self.name) + _text(deployment), **files}

    def apply(self, deployment: Deployment, folder: str) -> str:
        copy = f"cp -r {folder}/{_unit(deployment)}.service /etc/systemd/system/ && cp -r {folder}/{_place(deployment)} /etc/"
        return f"{copy} && systemctl enable --now {_unit(deployment)}"


def _unit(deployment: Deployment) -> str:
    return f"tidegate-{deployment.name}"


def _place(deployment: Deployment) -> str:
    return f"tidegate-{deployment.name}.d"


def _text(deployment: Deployment) -> str:
    state = f"/var/lib/{_unit(deployment)}"
    place = f"--bucket {deployment.bucket}" if deployment.bucket else ""
    store = state if deployment.bucket else deployment.store
    address = " ".join(["--host 127.0.0.1", f"--port {PORT}", *grpc_arguments(deployment)])
    command = f"/opt/tidegate/bin/tidegate --project /etc/{_place(deployment)} serve {deployment.model} {address} --store {store} {place}"
    owned = (
        [f"StateDirectory={_unit(deployment)}", "StateDirectoryMode=0700"] if deployment.bucket else [f"ReadWritePaths={store}"]
    )
    credentials = [f"EnvironmentFile=/etc/{_place(deployment)}/{deployment.secret}.env"] if deployment.bucket else []
    lines = [
        "[Unit]",
        f"Description=Tidegate serves {deployment.model}",
        "After=network-online.target",
        "Wants=network-online.target",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={command.strip()}",
        *(f"Environment={key}={value}" for key, value in THREADS.items()),
        *credentials,
        "DynamicUser=yes" if deployment.bucket else "User=tidegate",
        *owned,
        "Restart=on-failure",
        "RestartSec=2",
        "KillSignal=SIGTERM",
        f"TimeoutStopSec={DRAIN_SECONDS + 4}",
        f"MemoryMax={deployment.memory_mib}M",
        "TasksMax=128",
        "LimitNOFILE=65536",
        *_HARDENED,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"

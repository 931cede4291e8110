"""A pod that serves a model, as plain values: what every target on Kubernetes shares.

It runs as nobody, writes nowhere but into scratch folders, has no capability and no token. One process computes on one thread,
so it asks for one processor, and has no limit that would slow it in the middle of a request. It is told to stop only after
load balancers have had time to look elsewhere.
"""

from __future__ import annotations

from typing import Any

from tidegate.records.deployment import Deployment, Pinned

PORT = 8080
GRPC_PORT = 8001
USER = 65_532
PRESTOP_SECONDS = 10
"""Between the removal of a pod from its Service and the signal: whoever has not heard of it still finds it answering."""
DRAIN_SECONDS = 78
"""What a server takes at most from the signal to its end: it finishes requests (30 s), lets go of the pointer and of a rollout (16 s),
and writes its log (30 s)."""
GRACE_SECONDS = PRESTOP_SECONDS + DRAIN_SECONDS + 4
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PROJECT = "/etc/tidegate"
SCRATCH = "/var/lib/tidegate"
VERSION = "tidegate.dev/model-version"
DIGEST = "tidegate.dev/model-digest"


def arguments(deployment: Deployment, *, pinned: Pinned | None = None) -> list[str]:
    """The arguments of ``tidegate`` inside a container."""
    model = f"{deployment.model}@{pinned.version}" if pinned else deployment.model
    place = ["--bucket", deployment.bucket] if deployment.bucket else []
    address = ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - inside the container
    return ["--project", PROJECT, "serve", model, *address, *grpc_arguments(deployment), "--store", SCRATCH, *place]


def grpc_arguments(deployment: Deployment) -> list[str]:
    """What makes a server answer gRPC, where it is wanted."""
    return ["--grpc-port", str(GRPC_PORT)] if deployment.grpc else []


def labels(deployment: Deployment, track: str = "") -> dict[str, str]:
    """Labels of a deployment's objects; ``track`` tells apart the pods of the candidate."""
    found = {"app.kubernetes.io/name": deployment.name, "app.kubernetes.io/component": "serving"}
    return found | ({"tidegate.dev/track": track} if track else {})


def released(deployment: Deployment, version: Pinned) -> dict[str, str]:
    """What was released when this was rendered."""
    return {"tidegate.dev/model": deployment.model, VERSION: str(version.version), DIGEST: f"sha256:{version.digest}"}


def metadata(deployment: Deployment, name: str = "", **more: Any) -> dict[str, Any]:
    """Metadata of an object of a deployment."""
    place = {"namespace": deployment.namespace} if deployment.namespace else {}
    managed = labels(deployment) | {"app.kubernetes.io/managed-by": "tidegate"}
    return {"name": name or deployment.name, **place, "labels": managed} | more


def pod_template(deployment: Deployment, version: Pinned, *, track: str = "", pinned: bool = False) -> dict[str, Any]:
    """The template of the pods that serve ``version``; unless ``pinned``, they follow the pointer."""
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels(deployment, track)},
    }
    return {
        "metadata": {"labels": labels(deployment, track), "annotations": released(deployment, version) | scraped},
        "spec": pod(deployment, container(deployment, "server", pinned=version if pinned else None))
        | {"topologySpreadConstraints": [spread]},
    }


def pod(deployment: Deployment, of: dict[str, Any]) -> dict[str, Any]:
    """A pod of one container."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [of],
        "volumes": [
            {"name": "project", "configMap": {"name": f"{deployment.name}-project"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def container(deployment: Deployment, name: str, *, pinned: Pinned | None = None) -> dict[str, Any]:
    """The container that serves."""
    memory = f"{deployment.memory_mib}Mi"
    return {
        "name": name,
        "image": deployment.image,
        "command": ["tidegate"],
        "args": arguments(deployment, pinned=pinned),
        "env": [{"name": key, "value": value} for key, value in {**THREADS, "HOME": "/tmp"}.items()],  # noqa: S108 - inside the container
        "envFrom": [{"secretRef": {"name": deployment.secret}}],
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            *([{"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"}] if deployment.grpc else []),
        ],
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "startupProbe": _probe("ready", period=1, failures=120),
        "readinessProbe": _probe("ready", period=2, failures=2),
        "livenessProbe": _probe("live", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}},
        "volumeMounts": [
            {"name": "project", "mountPath": PROJECT, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside the container
        ],
    }


def _probe(what: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": f"/v2/health/{what}", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }

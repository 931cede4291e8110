"""The objects around the pods on Kubernetes, as plain values: project files, Service, disruption, scaling, network, scraping, routes."""

from __future__ import annotations

from typing import Any

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.serving.deploy.pod import GRPC_PORT, PORT, labels, metadata
from tidegate.serving.rollout.weights import gateway_patch

Object = dict[str, Any]
_BUSY_PERCENT = 70
ALIAS = "tidegate.dev/alias"
"""Label of a Service whose pods have another Service as well."""


def require_bucket(deployment: Deployment) -> None:
    """Pods come and go between hosts, so their bucket must be reachable from all of them.

    Raises:
        UsageError: there is none.
    """
    if not deployment.bucket:
        raise UsageError(
            "bucket-needed",
            "the store of this project is a folder, which no other host can reach",
            why="the pods follow one pointer and write one prediction log; a model inside the image (tidegate build image) does neither: "
            "nothing would be monitored, and a rollback would not reach it",
            fix="--bucket s3://name/prefix, or the setting bucket; docs/how-to/use-an-s3-bucket.md",
        )


def require_share(deployment: Deployment) -> None:
    """Raises UsageError where a candidate has pods of its own and would get no requests."""
    if deployment.candidate and not deployment.share:
        raise UsageError("bad-option", "the candidate would get no requests", fix="--share 0.05")


def project_files(deployment: Deployment) -> Object:
    """What the project declares about serving, without anything secret."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, f"{deployment.name}-project"),
        "data": dict(deployment.settings),
    }


def service(deployment: Deployment, name: str = "", track: str = "") -> Object:
    """A Service for the pods, or for those of one track."""
    ports: list[Object] = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    if deployment.grpc:
        ports.append(
            {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}
        )
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, name),
        "spec": {"selector": labels(deployment, track), "ports": ports},
    }


def disruption_budget(deployment: Deployment) -> Object:
    """One pod at a time may be moved away on purpose."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployment),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(deployment)}},
    }


def autoscaler(deployment: Deployment, kind: str = "Deployment", version: str = "apps/v1") -> list[Object]:
    """More pods while processors are busy, if the deployment allows more."""
    if not deployment.max_replicas:
        return []
    busy = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _BUSY_PERCENT}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": deployment.name},
        "minReplicas": deployment.replicas,
        "maxReplicas": deployment.max_replicas,
        "metrics": [busy],
    }
    return [{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata(deployment), "spec": spec}]


def network_policy(deployment: Deployment) -> Object:
    """In: the serving ports alone. Out: names (53) and the bucket (443)."""
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(deployment),
        "spec": {
            "podSelector": {"matchLabels": labels(deployment)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [{"protocol": "TCP", "port": port} for port in (PORT, *([GRPC_PORT] if deployment.grpc else []))]}
            ],
            "egress": [{"ports": names}, {"ports": [{"protocol": "TCP", "port": 443}]}],
        },
    }


def service_monitor(deployment: Deployment) -> list[Object]:
    """For the Prometheus operator, if the deployment wants one. Services that stand for pods of another one are left out: each pod once."""
    if not deployment.monitor:
        return []
    spec = {
        "selector": {"matchLabels": labels(deployment), "matchExpressions": [{"key": ALIAS, "operator": "DoesNotExist"}]},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
    }
    return [{"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": metadata(deployment), "spec": spec}]


def route(deployment: Deployment, candidate: str = "") -> list[Object]:
    """An HTTPRoute of the deployment's Gateway, if it has one; with weights, where a candidate has a Service of its own."""
    if not deployment.gateway:
        return []
    backends = [{"name": deployment.name, "port": 80}]
    if candidate:
        backends = gateway_patch(deployment.name, candidate, deployment.share)["spec"]["rules"][0]["backendRefs"]
    hosts = {"hostnames": [deployment.hostname]} if deployment.hostname else {}
    spec = {"parentRefs": [{"name": deployment.gateway}], **hosts, "rules": [{"backendRefs": backends}]}
    return [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(deployment), "spec": spec}]

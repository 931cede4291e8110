"""Kubernetes: a Deployment and what belongs around it, in one file. A candidate gets a Deployment and a Service of its own."""

from __future__ import annotations

from typing import Any

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment, Pinned
from tidegate.serving.deploy.documents import dump, header
from tidegate.serving.deploy.objects import (
    autoscaler,
    disruption_budget,
    network_policy,
    project_files,
    require_bucket,
    require_share,
    route,
    service,
    service_monitor,
)
from tidegate.serving.deploy.pod import labels, metadata, pod_template, released


class KubernetesTarget:
    """See ``Target``."""

    name = "kubernetes"
    about = "Deployment, Service, disruption budget, network policy; autoscaler, route and monitor on demand"
    contained = True

    def render(self, deployment: Deployment) -> dict[str, str]:
        return {f"{deployment.name}.yaml": header(deployment, self.name) + dump(objects(deployment))}

    def apply(self, deployment: Deployment, folder: str) -> str:
        return f"kubectl apply -f {folder}/{deployment.name}.yaml"


def objects(deployment: Deployment) -> list[dict[str, Any]]:
    """Everything that runs a model on Kubernetes.

    Raises:
        UsageError: it has no bucket, or a candidate without a gateway that could give it a share.
    """
    require_bucket(deployment)
    require_share(deployment)
    candidate = deployment.candidate
    if candidate and not deployment.gateway:
        raise UsageError(
            "gateway-needed",
            "a Service of Kubernetes cannot give a candidate a share of the requests",
            why="it knows no weights",
            fix="--gateway NAME for an HTTPRoute, or --target argo",
        )
    stable = "stable" if candidate else ""
    found = [project_files(deployment), _deployment(deployment, deployment.champion, stable), service(deployment, track=stable)]
    other = f"{deployment.name}-candidate"
    if candidate:
        found += [_deployment(deployment, candidate, "candidate", other), service(deployment, other, "candidate")]
    found += [disruption_budget(deployment), network_policy(deployment), *autoscaler(deployment)]
    return found + route(deployment, other if candidate else "") + service_monitor(deployment)


def _deployment(deployment: Deployment, version: Pinned, track: str, name: str = "") -> dict[str, Any]:
    scaled = {} if deployment.max_replicas and track != "candidate" else {"replicas": deployment.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployment, name, annotations=released(deployment, version)),
        "spec": {
            **scaled,
            "selector": {"matchLabels": labels(deployment, track)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod_template(deployment, version, track=track, pinned=track == "candidate"),
        },
    }

"""Argo Rollouts: pods of a candidate get a growing share of the requests, each time only after Tidegate found that all is well.

The stable pods follow the pointer. While a rollout runs in the mode ``shadow`` they ask the candidate, too, and their analysis endpoint says
what the comparison found. Argo moves traffic to the candidate's own pods when the answer is a success, goes back when it is a failure,
and waits as long as it is neither. Without a candidate the steps only bring out a new image slowly.
"""

from __future__ import annotations

from typing import Any

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.deploy.documents import dump, header
from tidegate.serving.deploy.objects import (
    ALIAS,
    autoscaler,
    disruption_budget,
    network_policy,
    project_files,
    require_bucket,
    route,
    service,
    service_monitor,
)
from tidegate.serving.deploy.pod import labels, metadata, pod_template, released
from tidegate.serving.rollout.weights import argo_steps, argo_template

_API = "argoproj.io/v1alpha1"
_PLUGIN = "argoproj-labs/gatewayAPI"
_WEIGHTS = RolloutPolicy(mode="canary")
_OF_AN_IMAGE: list[dict[str, Any]] = [
    {"setWeight": 20},
    {"pause": {"duration": "2m"}},
    {"setWeight": 50},
    {"pause": {"duration": "2m"}},
]


class ArgoTarget:
    """See ``Target``."""

    name = "argo"
    about = "Argo Rollouts: a Rollout, with an analysis that asks Tidegate before each step"
    contained = True

    def render(self, deployment: Deployment) -> dict[str, str]:
        return {f"{deployment.name}.yaml": header(deployment, self.name) + dump(objects(deployment))}

    def apply(self, deployment: Deployment, folder: str) -> str:
        return f"kubectl apply -f {folder}/{deployment.name}.yaml"


def objects(deployment: Deployment) -> list[dict[str, Any]]:
    """Everything that runs a model on Kubernetes with Argo Rollouts.

    Raises:
        UsageError: it has no bucket, or no namespace.
    """
    require_bucket(deployment)
    if not deployment.namespace:
        raise UsageError(
            "namespace-needed",
            "the analysis of a rollout asks a Service by its name and namespace",
            why="Argo asks from a namespace of its own",
            fix="--namespace NAME",
        )
    stable, candidate = f"{deployment.name}-stable", f"{deployment.name}-candidate"
    template: list[dict[str, Any]] = []
    if deployment.candidate:
        found = argo_template(f"{deployment.name}-analysis", f"http://{stable}.{deployment.namespace}", deployment.model)
        template = [found | {"metadata": metadata(deployment, found["metadata"]["name"])}]
    return [
        project_files(deployment),
        _rollout(deployment, stable, candidate),
        *template,
        service(deployment),
        *(_alias(deployment, name) for name in (stable, candidate)),
        disruption_budget(deployment),
        network_policy(deployment),
        *autoscaler(deployment, "Rollout", _API),
        *_routed(deployment, stable, candidate),
        *service_monitor(deployment),
    ]


def _rollout(deployment: Deployment, stable: str, candidate: str) -> dict[str, Any]:
    version = deployment.candidate or deployment.champion
    moved = {"plugins": {_PLUGIN: {"httpRoute": deployment.name, "namespace": deployment.namespace}}}
    canary: dict[str, Any] = {
        "stableService": stable,
        "canaryService": candidate,
        "maxUnavailable": 0,
        "maxSurge": 1,
        **({"trafficRouting": moved} if deployment.gateway else {}),
        "steps": argo_steps(_WEIGHTS, f"{deployment.name}-analysis") if deployment.candidate else _OF_AN_IMAGE,
    }
    return {
        "apiVersion": _API,
        "kind": "Rollout",
        "metadata": metadata(deployment, annotations=released(deployment, version)),
        "spec": {
            **({} if deployment.max_replicas else {"replicas": deployment.replicas}),
            "selector": {"matchLabels": labels(deployment)},
            "strategy": {"canary": canary},
            "template": pod_template(deployment, version, pinned=deployment.candidate is not None),
        },
    }


def _alias(deployment: Deployment, name: str) -> dict[str, Any]:
    """A Service whose pods Argo picks among those of the deployment's own."""
    found = service(deployment, name)
    found["metadata"]["labels"][ALIAS] = "true"
    return found


def _routed(deployment: Deployment, stable: str, candidate: str) -> list[dict[str, Any]]:
    """The route whose weights the Rollout moves: it begins with everything for the stable pods."""
    found = route(deployment)
    for each in found:
        each["spec"]["rules"] = [
            {"backendRefs": [{"name": stable, "port": 80, "weight": 100}, {"name": candidate, "port": 80, "weight": 0}]}
        ]
    return found

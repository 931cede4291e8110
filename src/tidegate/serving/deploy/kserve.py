"""KServe: an InferenceService with a container of our own, which reads the bucket itself and checks every digest.

Without a candidate it is a plain Deployment (KServe's mode Standard). A share for a candidate is KServe's only with Knative, which
takes neither hooks nor grace periods: its own proxy drains.
Source: KServe's API reference (serving.kserve.io/v1beta1) and Knative's runtime contract.
"""

from __future__ import annotations

from typing import Any

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.serving.deploy.documents import dump, header
from tidegate.serving.deploy.objects import disruption_budget, network_policy, project_files, require_bucket, require_share
from tidegate.serving.deploy.pod import PORT, container, labels, metadata, pod, released
from tidegate.serving.rollout.weights import kserve_patch

_MODE = "serving.kserve.io/deploymentMode"
_CONTAINER = "kserve-container"


class KserveTarget:
    """See ``Target``."""

    name = "kserve"
    about = "KServe: an InferenceService; with a candidate, a share for it through Knative"
    contained = True

    def render(self, deployment: Deployment) -> dict[str, str]:
        require_bucket(deployment)
        require_share(deployment)
        around: list[dict[str, Any]] = []
        if not deployment.candidate:  # with Knative, proxies of its own stand before the pods
            around = [disruption_budget(deployment), network_policy(deployment)]
        elif deployment.grpc:
            raise UsageError(
                "bad-option",
                "with a candidate a pod of KServe has one port",
                why="Knative shares requests, and knows one port of a container",
                fix="leave --grpc out, or --target argo",
            )
        objects = [project_files(deployment), _service(deployment), *around]
        return {f"{deployment.name}.yaml": header(deployment, self.name) + dump(objects)}

    def apply(self, deployment: Deployment, folder: str) -> str:
        return f"kubectl apply -f {folder}/{deployment.name}.yaml"


def _service(deployment: Deployment) -> dict[str, Any]:
    version = deployment.candidate or deployment.champion
    serverless = deployment.candidate is not None
    one = container(deployment, _CONTAINER, pinned=deployment.candidate)
    one["ports"][0]["name"] = "http1"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        one[probe]["httpGet"]["port"] = PORT
    spec = pod(deployment, one)
    if serverless:
        del one["lifecycle"]
        one["securityContext"] |= {
            "runAsUser": spec["securityContext"]["runAsUser"],
            "runAsGroup": spec["securityContext"]["runAsGroup"],
        }
        del spec["terminationGracePeriodSeconds"], spec["securityContext"]
        spec |= kserve_patch(deployment.share)["spec"]["predictor"]
    limits = {"minReplicas": deployment.replicas, "maxReplicas": deployment.max_replicas or deployment.replicas}
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
    described = {"labels": labels(deployment), "annotations": released(deployment, version) | scraped}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(
            deployment, annotations=released(deployment, version) | {_MODE: "Knative" if serverless else "Standard"}
        ),
        "spec": {"predictor": {**limits, **described, **spec}},
    }

"""The same shares for whoever else moves traffic: documents to patch with, as plain values. Pure.

They move traffic between deployments of two versions, where the in-process router moves it between two models of one server.
A share becomes a whole percentage, rounded down, so that nobody gets more than was decided; but never 0 where some was.
"""

from __future__ import annotations

from math import floor
from typing import Any

from tidegate.records.rollout import RolloutPolicy

_INTERVAL = "1m"


def percent(share: float) -> int:
    """A share (0 to 1) as a whole percentage."""
    whole = floor(100 * share + 1e-9)
    return max(whole, 1) if share > 0 else 0


def kserve_patch(share: float) -> dict[str, Any]:
    """A merge patch for a KServe InferenceService (serving.kserve.io/v1beta1) in serverless mode: the newest revision gets this share.

    Source: KServe documentation, canary rollout strategy.
    """
    return {"spec": {"predictor": {"canaryTrafficPercent": percent(share)}}}


def gateway_patch(stable: str, candidate: str, share: float, *, port: int = 80) -> dict[str, Any]:
    """A merge patch for an HTTPRoute (gateway.networking.k8s.io/v1) of one rule: weights of two Services, which sum to 100.

    Source: Gateway API specification, HTTPBackendRef.
    """
    weight = percent(share)
    backends = [{"name": stable, "port": port, "weight": 100 - weight}, {"name": candidate, "port": port, "weight": weight}]
    return {"spec": {"rules": [{"backendRefs": backends}]}}


def argo_steps(plan: RolloutPolicy, template: str) -> list[dict[str, Any]]:
    """The canary steps of an Argo Rollout (argoproj.io/v1alpha1): each share, then an analysis that lasts until the step is decided.

    A step of share 0 is left out: nothing is shifted then.
    Source: Argo Rollouts documentation, canary strategy and analysis.
    """
    steps: list[dict[str, Any]] = []
    for number, share in enumerate(plan.shares):
        if share:
            steps.append({"setWeight": percent(share)})
        arguments = [{"name": "step", "value": str(number)}]
        steps.append({"analysis": {"templates": [{"templateName": template}], "args": arguments}})
    return steps


def argo_template(name: str, address: str, model: str, *, looks: int = 10_000) -> dict[str, Any]:
    """An AnalysisTemplate that asks a server's analysis endpoint once a minute until it is decided.

    A value of 1 is success and one of 0 failure. Anything else (null, NaN, no answer) is inconclusive or an error, and success never.
    Source: Argo Rollouts documentation, web metrics.
    """
    metric = {
        "name": "rollout",
        "interval": _INTERVAL,
        "count": looks,
        "successCondition": "result == 1.0",
        "failureCondition": "result == 0.0",
        "consecutiveSuccessLimit": 1,
        "failureLimit": 0,
        "inconclusiveLimit": looks,
        "consecutiveErrorLimit": 10,
        "provider": {
            "web": {
                "url": f"{address}/v2/models/{model}/rollout?step={{{{args.step}}}}",
                "timeoutSeconds": 10,
                "jsonPath": "{$.value}",
            }
        },
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name},
        "spec": {"args": [{"name": "step"}], "metrics": [metric]},
    }

"""Helm: the same objects as on Kubernetes, with the values that differ from place to place in ``values.yaml``.

The templates are not written by hand. The objects are rendered with marks in the place of values, and the marks then become
Helm's own expressions: a chart cannot say something else than ``--target kubernetes``.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment
from tidegate.serving.deploy.documents import dump, header
from tidegate.serving.deploy.kubernetes import objects

CHART_VERSION = "0.1.0"
_TEXTS = ("image", "bucket", "secret", "gateway", "hostname")
_MARKED = re.compile(r"<mark:([a-zA-Z]+)>")  # no name of a user has such characters
_REPLICAS, _MOST, _MEMORY = 990_001, 990_002, 990_003  # numbers that stand for values: they are found again in the text
_NUMBERS = {str(_REPLICAS): "replicas", str(_MOST): "maxReplicas", str(_MEMORY): "memoryMiB"}
_ON_DEMAND = {"HorizontalPodAutoscaler": "maxReplicas", "HTTPRoute": "gateway", "ServiceMonitor": "monitor"}
"""Kinds that are there only where a value says so."""


class HelmTarget:
    """See ``Target``."""

    name = "helm"
    about = "a chart with the objects of --target kubernetes"
    contained = True

    def render(self, deployment: Deployment) -> dict[str, str]:
        if deployment.candidate:
            raise UsageError(
                "bad-option",
                "the chart has no candidate",
                why="a rollout comes and goes, a chart stays",
                fix="--target argo, or --target kubernetes with --gateway",
            )
        chart = {
            "apiVersion": "v2",
            "name": deployment.name,
            "description": f"Serves the model {deployment.model} and follows its pointer",
            "type": "application",
            "version": CHART_VERSION,
            "appVersion": str(deployment.champion.version),
        }
        place = deployment.name
        files = {
            f"{place}/Chart.yaml": header(deployment, self.name) + dump([chart]),
            f"{place}/values.yaml": header(deployment, self.name) + dump([_values(deployment)]),
            f"{place}/values.schema.json": json.dumps(_schema(), indent=2) + "\n",
        }
        return files | {f"{place}/templates/{name}": text for name, text in _templates(deployment).items()}

    def apply(self, deployment: Deployment, folder: str) -> str:
        return f"helm upgrade --install {deployment.name} {folder}/{deployment.name}"


def _values(deployment: Deployment) -> dict[str, Any]:
    return {
        "image": deployment.image,
        "bucket": deployment.bucket,
        "secret": deployment.secret,
        "replicas": deployment.replicas,
        "maxReplicas": deployment.max_replicas,
        "memoryMiB": deployment.memory_mib,
        "gateway": deployment.gateway,
        "hostname": deployment.hostname,
        "monitor": deployment.monitor,
    }


def _schema() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0, "maximum": 1000}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["image", "bucket", "secret", "replicas", "memoryMiB"],
        "properties": {
            "image": {"type": "string", "pattern": "@sha256:[0-9a-f]{64}$"},
            "bucket": {"type": "string", "pattern": "^[a-z0-9]+://[A-Za-z0-9._/-]+$"},
            "secret": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"},
            "replicas": count | {"minimum": 1},
            "maxReplicas": count,
            "memoryMiB": {"type": "integer", "minimum": 64},
            "gateway": {"type": "string"},
            "hostname": {"type": "string"},
            "monitor": {"type": "boolean"},
        },
    }


def _templates(deployment: Deployment) -> dict[str, str]:
    marked = msgspec.structs.replace(
        deployment,
        **{name: f"<mark:{name}>" for name in _TEXTS},
        replicas=_REPLICAS,
        max_replicas=_MOST,
        memory_mib=_MEMORY,
        monitor=True,
        namespace="",
    )
    found: dict[str, str] = {}
    for each in objects(marked):
        kind: str = each["kind"]
        if kind == "Deployment":
            each["spec"] = {"replicas": _REPLICAS, **each["spec"]}
        text = _expressions(dump([each]))
        if kind == "Deployment":
            replicas = "  replicas: {{ .Values.replicas }}\n"
            text = text.replace(replicas, f"  {{{{- if not .Values.maxReplicas }}}}\n{replicas}  {{{{- end }}}}\n")
        if kind == "HTTPRoute":
            hosts = "  hostnames:\n  - {{ .Values.hostname | quote }}\n"
            text = text.replace(hosts, f"  {{{{- if .Values.hostname }}}}\n{hosts}  {{{{- end }}}}\n")
        if kind in _ON_DEMAND:
            text = f"{{{{- if .Values.{_ON_DEMAND[kind]} }}}}\n{text}{{{{- end }}}}\n"
        found[f"{kind.lower()}.yaml"] = text
    return found


def _expressions(text: str) -> str:
    """Marks as expressions of Helm. A text of a user that looks like one stays a text."""
    literal = re.sub(r"\{\{|\}\}", lambda braces: '{{ "' + braces[0] + '" }}', text)
    named = _MARKED.sub(r"{{ .Values.\1 | quote }}", literal)
    for number, name in _NUMBERS.items():
        named = re.sub(rf"\b{number}(?=\b|Mi\b)", f"{{{{ .Values.{name} }}}}", named)
    return named

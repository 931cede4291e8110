"""Deployment artefacts: from a released version to the files that run it, for each system that could."""

from __future__ import annotations

from tidegate.serving.deploy.deployment import Wanted, make_deployment
from tidegate.serving.deploy.files import write_files
from tidegate.serving.deploy.port import Target
from tidegate.serving.deploy.registered import find_target, targets

__all__ = ["Target", "Wanted", "find_target", "make_deployment", "targets", "write_files"]

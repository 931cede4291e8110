"""Models in OCI registries, and in images: ModelPack artifacts, pinned by digest."""

from __future__ import annotations

from tidegate.models.oci.connection import Connection
from tidegate.models.oci.credentials import Credentials, find_credentials
from tidegate.models.oci.reference import ArtifactReference, is_artifact, parse_artifact
from tidegate.models.oci.registry import Registry
from tidegate.models.oci.transfer import Pulled, Pushed, pull, push

__all__ = [
    "ArtifactReference",
    "Connection",
    "Credentials",
    "Pulled",
    "Pushed",
    "Registry",
    "find_credentials",
    "is_artifact",
    "parse_artifact",
    "pull",
    "push",
]

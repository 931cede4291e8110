"""A deployment as it is rendered: which model, from which image and bucket, how large and how many."""

from __future__ import annotations

import msgspec


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A version and its digest."""

    version: int
    digest: str


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a target renders. Made and checked by ``tidegate.serving.deploy.make_deployment``."""

    model: str
    name: str
    """The model's name as Kubernetes takes names: a DNS label."""
    champion: Pinned
    """What the pointer named when this was rendered. Pods follow the pointer; this is what to expect at first."""
    image: str
    """With its digest: ``registry/name@sha256:...``."""
    bucket: str
    """The bucket's address; empty where it is a folder of the host."""
    store: str
    """The store's folder on the host where there is no address."""
    secret: str
    """The name of the secret (or, on a host, the file) with the bucket's credentials."""
    settings: dict[str, str]
    """The project's files that a server reads, by name: ``tidegate.toml`` and the public keys that it names."""
    memory_mib: int
    replicas: int = 2
    max_replicas: int = 0
    """More than ``replicas``: pods are added up to so many while the processors are busy."""
    grpc: bool = False
    """Whether gRPC is answered as well, on a port of its own."""
    namespace: str = ""
    monitor: bool = False
    """Whether a ServiceMonitor is wanted beside the annotations for scraping."""
    gateway: str = ""
    """A Gateway that an HTTPRoute is attached to; empty: none."""
    hostname: str = ""
    candidate: Pinned | None = None
    """A version that answers a share of the requests from pods of its own."""
    share: float = 0.0
    """That share, 0 to 1."""

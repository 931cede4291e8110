"""Ray: an actor for each worker, spread over the nodes of a cluster. Tidegate must be installed there; nothing else is shared.

Rows and answers travel through Ray's object store, the package goes there once. Without a cluster (``RAY_ADDRESS`` or one that
runs on this machine) Ray starts one on this machine, which ends with the scoring.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from importlib import import_module
from typing import Any

from tidegate.errors import TidegateError, UnavailableError, missing_extra
from tidegate.models.formats import find_format
from tidegate.models.scoring.engines.port import PackedModel
from tidegate.models.scoring.rows import Answer, Portion, answer
from tidegate.records.model import Manifest


class RayEngine:
    """See ``Engine``."""

    name = "ray"

    def __init__(self) -> None:
        try:
            import ray
        except ImportError:
            raise missing_extra("ray", "ray", "scoring on Ray") from None
        self._ray: Any = ray
        self._started = False

    def workers(self) -> int:
        self._connect()
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def answers(self, model: PackedModel, portions: Iterable[Portion], *, workers: int, skip: bool) -> Generator[Answer]:
        self._connect()
        actors: list[Any] = []
        try:
            kind = self._ray.remote(_Worker).options(num_cpus=1, scheduling_strategy="SPREAD")
            package = self._ray.put((model.manifest, model.files()))
            actors += [kind.remote(package) for _ in range(workers)]
            waiting: deque[Any] = deque()
            for portion in portions:
                waiting.append(actors[portion.number % workers].answer.remote(portion, skip))
                if len(waiting) > workers:
                    yield self._get(waiting.popleft())
            while waiting:
                yield self._get(waiting.popleft())
        finally:
            for actor in actors:
                self._ray.kill(actor)
            if self._started:
                self._ray.shutdown()
                self._started = False

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        try:
            self._ray.init(log_to_driver=False, include_dashboard=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise UnavailableError(
                "engine-failed", "Ray cannot be reached", why=str(error).split("\n")[0][:300], fix="check RAY_ADDRESS; ray status"
            ) from None
        self._started = True

    def _get(self, waiting: Any) -> Answer:
        try:
            return self._ray.get(waiting)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TidegateError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise UnavailableError(
                "engine-failed",
                "a worker of the Ray cluster died",
                why=str(error).split("\n")[0][:300],
                fix="is Tidegate installed on every node, and is there memory? What is done is kept: the same command goes on",
            ) from None


class _Worker:
    """Lives on a node of the cluster: the loaded model."""

    def __init__(self, package: tuple[Manifest, dict[str, bytes]]) -> None:
        ray: Any = import_module("ray")

        manifest, files = package
        self._predictor = find_format(manifest.format).load(files, manifest)
        self._where = f"node {ray.get_runtime_context().get_node_id()[:8]}"

    def answer(self, portion: Portion, skip: bool) -> Answer:
        return answer(self._predictor, portion, skip=skip)._replace(where=self._where)

"""A handle: one loaded version, ready to answer. A request takes it once and keeps it, so a swap never touches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from tidegate.errors import BadInputError, IntegrityError
from tidegate.models import Predictor, load_version, read_version
from tidegate.models.devices import Device, Placed
from tidegate.models.signature import synthetic_row
from tidegate.models.signing import TrustedKey
from tidegate.records.model import ModelVersion, Signature
from tidegate.store.ports import Bucket

SLOW_SECONDS = 0.002
_WARM_UPS = 3


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Handle:
    """A version with its predictor. ``slow``: one row takes milliseconds, so it is not run on the event loop.

    ``seconds``: what one row took when it was warmed.
    """

    version: ModelVersion
    predictor: Predictor
    slow: bool
    seconds: float = 1e-4

    @property
    def number(self) -> str:
        """The version's number as protocols write it."""
        return str(self.version.version)

    @property
    def placed(self) -> Placed:
        """Where it computes."""
        return getattr(self.predictor, "placed", Placed("cpu"))

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self.version.manifest.signature


def load_handle(
    bucket: Bucket,
    model: str,
    version: int,
    digest: str,
    *,
    allow_code: bool,
    signed_by: Sequence[TrustedKey] = (),
    device: Device = "auto",
) -> Handle:
    """Reads, checks, loads and warms a version. Errors: those of ``tidegate.models.load_package``.

    Raises:
        IntegrityError: its outputs are not those of its signature.
    """
    found = read_version(bucket, model, version, digest)
    predictor = load_version(bucket, found, allow_code=allow_code, signed_by=signed_by, device=device)
    seconds = _warm(found, predictor)
    return Handle(found, predictor, slow=seconds > SLOW_SECONDS, seconds=seconds)


def _warm(version: ModelVersion, predictor: Predictor) -> float:
    """Predicts a made-up row some times; returns the shortest time in seconds."""
    row = synthetic_row(version.manifest.signature)
    shortest = float("inf")
    for _ in range(_WARM_UPS):
        start = perf_counter()
        try:
            answer = predictor.predict(row)
        except BadInputError:
            continue  # zeros and empty texts may be nonsense to a model, and to say so is an answer too
        finally:
            shortest = min(shortest, perf_counter() - start)
        expected = {tensor.name: [1, *tensor.shape[1:]] for tensor in version.manifest.signature.outputs}
        shapes = {name: list(values.shape) for name, values in answer.items()}
        if shapes != expected:
            raise IntegrityError(
                "package-differs",
                f"{version.ref} does not give what its signature says",
                why=f"it gives {shapes}, expected {expected}",
                fix="register the model again",
            )
    return shortest

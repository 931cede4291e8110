"""MLflow's stages, which it calls deprecated and which are used all the same. Production is our pointer."""

from __future__ import annotations

from tidegate.release.state import PRODUCTION, STAGES, STAGING
from tidegate.server.mlflow.protocol import invalid

CANONICAL = {stage.lower(): stage for stage in STAGES}
ACTIVE_STAGES = [STAGING, PRODUCTION]


def canonical_stage(stage: str) -> str:
    """A stage as it is written, however a client wrote it.

    Raises:
        MlflowError: there is no such stage.
    """
    found = CANONICAL.get(stage.lower())
    if found is None:
        raise invalid(f"Invalid Model Version stage: {stage[:40]}. Value must be one of {', '.join(STAGES)}.")
    return found

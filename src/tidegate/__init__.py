"""Tidegate carries machine-learning models from notebook to production and back.

The public API, loaded on demand so that ``import tidegate`` costs nothing::

    import tidegate

    with tidegate.run("delay") as run:      # track a run
        run.params(depth=6)
        run.log(loss=0.31, step=1)

    @tidegate.step                          # a step of a pipeline is a plain function
    def fit(...): ...

    workspace = tidegate.open_workspace()   # everything else: data, features, models, gate, release, monitoring
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.errors import (
        ApprovalMissing,
        BadInputError,
        ConflictError,
        IntegrityError,
        NotFoundError,
        RefusedError,
        TidegateError,
        UnavailableError,
        UsageError,
    )
    from tidegate.features import FeatureView, latest, point_in_time, window
    from tidegate.frames import connect, relation
    from tidegate.gate import check
    from tidegate.models import Candidate, PythonModel
    from tidegate.pipelines import Dataset, File, pipeline, step
    from tidegate.recording import autolog, run
    from tidegate.workspace import Workspace, open_workspace

__all__ = [
    "ApprovalMissing",
    "BadInputError",
    "Candidate",
    "ConflictError",
    "Dataset",
    "FeatureView",
    "File",
    "IntegrityError",
    "NotFoundError",
    "PythonModel",
    "RefusedError",
    "TidegateError",
    "UnavailableError",
    "UsageError",
    "Workspace",
    "autolog",
    "check",
    "connect",
    "latest",
    "open_workspace",
    "pipeline",
    "point_in_time",
    "relation",
    "run",
    "step",
    "window",
]


__getattr__, __dir__ = exports(
    __name__,
    {
        "errors": [
            "ApprovalMissing",
            "BadInputError",
            "ConflictError",
            "IntegrityError",
            "NotFoundError",
            "RefusedError",
            "TidegateError",
            "UnavailableError",
            "UsageError",
        ],
        "features": ["FeatureView", "latest", "point_in_time", "window"],
        "frames": ["connect", "relation"],
        "gate": ["check"],
        "models": ["Candidate", "PythonModel"],
        "pipelines": ["Dataset", "File", "pipeline", "step"],
        "recording": ["autolog", "run"],
        "workspace": ["Workspace", "open_workspace"],
    },
)

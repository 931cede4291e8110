"""Pipelines of plain functions: authoring, fingerprints and cache, the local runner."""

from tidegate.pipelines.authoring import Pipeline, Step, pipeline, step
from tidegate.pipelines.failure import PipelineBrokenError, StepFailedError
from tidegate.pipelines.graph import Graph, Node
from tidegate.pipelines.inputs import Dataset, File
from tidegate.pipelines.loading import import_target, load_function, load_pipeline
from tidegate.pipelines.plan import make_plan
from tidegate.pipelines.runner import PipelineResult, Progress, Runner, StepEvent
from tidegate.pipelines.why import Change, Why

__all__ = [
    "Change",
    "Dataset",
    "File",
    "Graph",
    "Node",
    "Pipeline",
    "PipelineBrokenError",
    "PipelineResult",
    "Progress",
    "Runner",
    "Step",
    "StepEvent",
    "StepFailedError",
    "Why",
    "import_target",
    "load_function",
    "load_pipeline",
    "make_plan",
    "pipeline",
    "step",
]

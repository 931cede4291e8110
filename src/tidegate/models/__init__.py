"""Models: candidates become immutable versions, and versions become predictors."""

from __future__ import annotations

from tidegate.models.candidate import Candidate, PythonModel
from tidegate.models.formats import Format, Predictor
from tidegate.models.package import load_package, load_version, read_version
from tidegate.models.registry import Models

__all__ = ["Candidate", "Format", "Models", "Predictor", "PythonModel", "load_package", "load_version", "read_version"]

"""Health: how mature a project is, what is missing, what is dangerous; on evidence only."""

from tidegate.health.examine import LEVELS, examine, maturity
from tidegate.health.questions import VERIFICATION

__all__ = ["LEVELS", "VERIFICATION", "examine", "maturity"]

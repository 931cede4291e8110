"""Health: how mature a project is, what is missing, what is dangerous; on evidence only."""

from tidegate.health.examine import LEVELS, examine, maturity

__all__ = ["LEVELS", "examine", "maturity"]

"""What came of reading: evidence, problems, warnings."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegate.gate.evidence.evidence import Evidence
from tidegate.records.report import Problem


@dataclass(slots=True)
class Reading:
    """The evidence, unless it cannot be measured; why the verdict is INVALID; and what a reader should know."""

    evidence: Evidence | None = None
    problems: list[Problem] = field(default_factory=list[Problem])
    warnings: list[Problem] = field(default_factory=list[Problem])
    rows: int = 0

    def refuse(self, code: str, what: str, fix: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(code=code, what=what, fix=fix))

    def warn(self, code: str, what: str, fix: str = "") -> None:
        """Adds a warning."""
        self.warnings.append(Problem(code=code, what=what, fix=fix))

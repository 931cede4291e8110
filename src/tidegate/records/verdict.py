"""The gate's answer and its exit codes."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """PASS promotes; nothing else does."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    """The evaluation set is too small to tell."""
    INVALID = "INVALID"
    """The evidence cannot be used."""

    @property
    def exit_code(self) -> int:
        """0, 3, 4, 5: stable, for CI."""
        return {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4, "INVALID": 5}[self.value]


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict over several rules: INVALID, then FAIL, then INCONCLUSIVE; PASS only if all pass and there are some."""
    for verdict in (Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if verdicts else Verdict.INVALID

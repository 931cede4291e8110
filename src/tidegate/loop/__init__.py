"""The loop: alerts and schedules open retraining decisions, evidence and people move them."""

from tidegate.loop.decisions import Decisions
from tidegate.loop.machinery import Judgement, Machinery, TrainingOutcome, folder_lock
from tidegate.loop.tick import TickReport, tick

__all__ = ["Decisions", "Judgement", "Machinery", "TickReport", "TrainingOutcome", "folder_lock", "tick"]

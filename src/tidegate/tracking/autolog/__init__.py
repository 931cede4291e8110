"""Training code as it is, recorded: one call patches the frameworks that are there, and those that are imported later."""

from tidegate.tracking.autolog.switch import FRAMEWORKS, switch_off, switch_on

__all__ = ["FRAMEWORKS", "switch_off", "switch_on"]

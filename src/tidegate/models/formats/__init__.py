"""Package formats, one file each, found by the entry-point group ``tidegate.formats``."""

from __future__ import annotations

from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, DeviceFormat, Format, Native, Packed, Predictor, Probe
from tidegate.models.formats.registered import find_format, formats

__all__ = [
    "OTHER_LIBRARY",
    "CannotPackError",
    "DeviceFormat",
    "Format",
    "Native",
    "Packed",
    "Predictor",
    "Probe",
    "find_format",
    "formats",
]

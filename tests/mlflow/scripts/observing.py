"""What every script of this folder uses: it notes what a user sees and prints all of it as one JSON object at the end."""

from __future__ import annotations

import atexit
import enum
import json
import math
import os
import pathlib
import sys

NAME = pathlib.Path(sys.argv[0]).stem
SERVER = os.environ["MLFLOW_TRACKING_URI"]
_steps: dict[str, object] = {}


def see(step, value):
    """Notes a value under a name that no other step of the script has."""
    if step in _steps:
        raise SystemExit(f"two steps are named {step!r}")
    _steps[step] = shown(value)


def attempt(step, action):
    """Notes what ``action`` returns or raises, and returns it (None if it raised)."""
    try:
        value = action()
    except Exception as error:  # noqa: BLE001 - the error is what is observed
        see(step, error)
        return None
    see(step, value)
    return value


def shown(value):
    """The value as JSON can hold it."""
    if isinstance(value, BaseException):
        return _error(value)
    if isinstance(value, enum.Enum):
        return shown(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return str(value) if math.isnan(value) or math.isinf(value) else value
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(shown(item) for item in value)
    if hasattr(value, "tolist"):
        return shown(value.tolist())
    if hasattr(value, "to_dictionary"):
        return shown(value.to_dictionary())
    if hasattr(value, "_properties") or hasattr(type(value), "_properties"):
        return {key: shown(item) for key, item in value if key != "effective_trace_archival_retention"}
    if hasattr(value, "columns"):
        return {"columns": sorted(map(str, value.columns)), "rows": len(value)}
    return f"<{type(value).__name__}>"


def _error(error):
    found = {"raised": type(error).__name__}
    if hasattr(error, "error_code"):
        found["error_code"] = error.error_code
        found["status"] = error.get_http_status_code()
    return found


@atexit.register
def _print():
    print("\n--- transcript ---\n" + json.dumps(_steps, sort_keys=False))

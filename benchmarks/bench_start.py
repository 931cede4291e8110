"""How long it takes until Tidegate is there: the import, and the help page of the command line.

A number here is a whole process, from fork to exit, beside an interpreter that does nothing. Peers are measured only
where they are installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path

from measure import Row, command, python, spread, time_in_turn

ROUNDS = 25
PEERS = ("mlflow", "feast", "prefect", "evidently", "bentoml", "zenml", "dvc")


def measure() -> list[Row]:
    """Milliseconds, median of 25 fresh processes each."""
    tasks = {
        "python -c pass": python("pass"),
        "import tidegate": python("import tidegate"),
        "tidegate --help": command(str(Path(sys.executable).with_name("tidegate")), "--help"),
        "import numpy": python("import numpy"),
    }
    tasks |= {f"import {peer}": python(f"import {peer}") for peer in PEERS if importlib.util.find_spec(peer)}
    budgets = {"import tidegate": 150.0, "tidegate --help": 300.0}
    seconds = time_in_turn(tasks, rounds=ROUNDS)
    idle = statistics.median(seconds["python -c pass"]) * 1000
    return [
        Row(
            name,
            median := statistics.median(values) * 1000,
            "ms",
            spread(values, scale=1000),
            budgets.get(name),
            "the interpreter alone" if name == "python -c pass" else f"{median - idle:.0f} ms above the interpreter",
        )
        for name, values in seconds.items()
    ]

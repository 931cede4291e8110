"""The program that is killed: records a run and says on standard output, after each call that returned, what it was.

python fault_training.py STORE POINTS [offline]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tidegate.clock import Clock
from tidegate.errors import UnavailableError
from tidegate.store import open_store
from tidegate.tracking import Place, Runs, Wanted, shipping, start_run

shipping._SYNC_SECONDS = 0.01
shipping._TAKE_SECONDS = 0.03


def tried(what: str, value: object, call: Callable[[], object]) -> None:
    """Tells what was done, if it was: a call that raises says that it recorded nothing."""
    try:
        call()
    except UnavailableError:
        return
    told(what, value)


def main(root: Path, points: int, offline: bool) -> None:
    if offline:
        run = start_run(Place(root / "journal", root, Clock()), None, Wanted("delay", params={"begin": "1"}))
    else:
        store = open_store(root)
        run = Runs(store, Clock(), journals=root / "journal", project=root).start("delay", params={"begin": "1"})
    told("run", run.id)
    with run:
        for step in range(points):
            values = {"loss": step / 7, "train/acc": float(step)}
            tried("point", step, partial(run.log, values, step=step))
            if step % 50 == 10:
                tried("param", step, partial(run.params, {f"p{step}": step}))
                tried("tag", step, partial(run.tag, last=step))
            if step % 100 == 20:
                tried("artifact", step, partial(run.artifact, f"bytes of {step}".encode() * 100, f"{step}.txt"))
                tried("bulk", step, partial(run.log_series, "bulk", [step, step + 0.5], steps=[step, step + 1]))
    told("end", 0)


def told(what: str, value: object) -> None:
    os.write(1, f"{what} {value}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "offline" in sys.argv[3:])

"""One check of a file in a process of its own: prints seconds, peak memory in MB and the verdict. Arguments: file, metrics, slice column."""

import json
import resource
import sys
import time

import tidegate


def main() -> None:
    """Runs the check."""
    file, metrics, column = sys.argv[1:]
    rules = [
        {"metric": metric, "test": "superior", "slices": [column], "slice_mode": "none_worse"} for metric in metrics.split(",")
    ]
    policy = {"task": "binary", "label": "y", "candidate": "new", "champion": "old", "rules": rules}
    start = time.perf_counter()
    report = tidegate.check(file, policy)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("FOUND", json.dumps({"seconds": seconds, "memory_mb": memory, "verdict": report.verdict, "rows": report.rows}))


if __name__ == "__main__":
    main()

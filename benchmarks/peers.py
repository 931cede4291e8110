"""The peers that are installed for comparison (``tools/peers --all``), and servers of both sides."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ENVIRONMENTS = {
    "mlflow": "mlflow3",
    "wandb": "trackers",
    "aim": "trackers",
    "fairlearn": "gate",
    "mlserver": "serving",
    "bentoml": "serving",
    "fastapi": "serving",
}
_ROOT = Path(__file__).parents[1] / "build" / "peers"
_PATIENCE = 120


def find_peer(name: str) -> Path | None:
    """The interpreter of the environment that has the peer, or None."""
    found = _ROOT / _ENVIRONMENTS[name] / "bin" / "python"
    return found if found.exists() else None


def server_command(name: str, folder: Path, port: int) -> list[str]:
    """What starts the server of ``tidegate`` or ``mlflow`` with its store in ``folder``."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    if name == "tidegate":
        return [sys.executable, "-m", "tidegate", "--store", str(folder / "store"), "server", *address]
    store = [f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}", f"--artifacts-destination={folder / 'artifacts'}"]
    return [str(find_peer(name)), "-m", "mlflow", "server", *address, "--workers", "1", *store]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def serving(name: str, folder: Path) -> Generator[str]:
    """The address of a server that answers; it is stopped at the end."""
    with started(name, folder) as (url, _seconds, _process):
        yield url


@contextmanager
def started(name: str, folder: Path) -> Generator[tuple[str, float, int]]:
    """A server: its address, the seconds until it answered, its process id."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    # As everywhere but in a shell that forbids it, Python keeps the bytecode that it compiled.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(server_command(name, folder, port), cwd=folder, env=environment, **quiet) as process:
        try:
            while not _answers(url):
                if process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                    raise RuntimeError(
                        f"the server of {name} did not start: {process.stderr.read().decode() if process.stderr else ''}"
                    )
                time.sleep(0.02)
            yield url, time.perf_counter() - start, process.pid
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def family(process: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return [process, *[pid for child in children for pid in family(int(child))]]


def memory_mb(process: int) -> float:
    """Megabytes that a process and its descendants hold: shared pages are divided among those who share them (PSS)."""
    total = 0
    for pid in family(process):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024

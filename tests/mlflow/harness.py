"""Runs the scripts of this folder with a real MLflow client against a server, and reads what they saw.

``python tests/mlflow/harness.py`` records again what MLflow's own servers answer.

A script prints every observation as one JSON object. What differs from run to run and says nothing about a server is replaced
here, in ``normalised``, and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = HERE / "scripts"
TRANSCRIPTS = HERE / "transcripts"
MARK = "\n--- transcript ---\n"
READY_SECONDS = 120.0


class Setting(NamedTuple):
    """A client's version, and the version of MLflow's own server that answered it."""

    client: str
    server: str

    @property
    def folder(self) -> Path:
        """Where its transcripts are."""
        return TRANSCRIPTS / f"client{self.client}-server{self.server}"


SETTINGS = [Setting("3", "3"), Setting("2", "2"), Setting("2", "3")]
BOTH = ["experiments", "runs", "metrics", "search", "artifacts", "models", "registry", "inputs", "commands", "raw"]
OF = {"3": [*BOTH, "logged_models", "traces", "webhooks", "evaluation_datasets"], "2": [*BOTH, "traces_2"]}


def peer(version: str) -> Path:
    """The Python of a peer's environment.

    Raises:
        FileNotFoundError: it is not installed.
    """
    python = ROOT / "build" / "peers" / f"mlflow{version}" / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"{python} is missing: tools/peers installs it")
    return python


def run_script(version: str, name: str, server: str) -> dict[str, Any]:
    """What a script saw, normalised.

    Raises:
        AssertionError: the script itself broke; its output is in the message.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "TMPDIR": home,
            "PEER": version,
            "MLFLOW_TRACKING_URI": server,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
            "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",  # autolog loads each model once more to see what it imports
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_ASYNC_TRACE_LOGGING_MAX_WORKERS": "1",  # else spans and their trace overtake each other
            "DO_NOT_TRACK": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
            "USER": "ada",
            "LOGNAME": "ada",
        }
        # A copy outside of any repository: the clients look at git, and note where a script lies.
        scripts = shutil.copytree(SCRIPTS, Path(home) / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        script = scripts / f"{name}.py"
        done = subprocess.run(
            [peer(version), script], cwd=home, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        whole = done.returncode == 0 and MARK in done.stdout
        assert whole, f"{name} broke:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return normalised(json.loads(done.stdout.rpartition(MARK)[2]), server=server, home=home)


_TIME_MS = range(1_600_000_000_000, 4_000_000_000_000)
_IDS = re.compile(
    r"(?<![0-9a-zA-Z])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{24})(?![0-9a-zA-Z])"
)
_PLACES = re.compile(r"mlflow-artifacts:/\d+(?=/|$)")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?")
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d{1,3}")


def normalised(steps: dict[str, Any], *, server: str = "", home: str = "") -> dict[str, Any]:
    """The steps with everything replaced that differs by chance.

    - the server's address and the script's own folder: every run has others;
    - ids: a server picks them; they are numbered as they appear, so that what is the same stays the same;
    - numbers of experiments: how many there were before; only where they stand as such;
    - times around now; random names of runs; who ran it.
    """
    known: dict[str, str] = {}

    def text(value: str) -> str:
        value = value.replace(server, "<server>") if server else value
        value = value.replace(home, "<home>") if home else value
        value = _IDS.sub(
            lambda found: known.setdefault(found[0], f"<id {len(known) + 1}>") if found[0].strip("0") else found[0], value
        )
        value = _PLACES.sub("mlflow-artifacts:/<experiment>", value)
        return "<random name>" if _RANDOM_NAME.fullmatch(value) else _MOMENT.sub("<time>", value)

    def each(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {text(name): each(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [each(item) for item in value]
        if key == "experiment_id" and isinstance(value, str) and value.isdigit():
            return "<experiment>"
        if key in _WHO:
            return _WHO[key]
        if isinstance(value, int) and not isinstance(value, bool) and value in _TIME_MS:
            return "<time>"
        return text(value) if isinstance(value, str) else value

    return {name: each(item) for name, item in steps.items()}


_WHO = {"mlflow.user": "<user>", "user_id": "<user>", "created_by": "<user>", "mlflow.source.name": "<script>"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str | Path], port: int, folder: Path, **environment: str) -> Iterator[str]:
    """A server's own process, while it answers; with all its children it is gone afterwards."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(url):
            waiting = process.poll() is None and time.monotonic() < deadline
            assert waiting, log.read_text(errors="replace")[-4000:]
            time.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ours(folder: Path, **environment: str) -> contextlib.AbstractContextManager[str]:
    """A Tidegate server on an empty store in ``folder``."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tidegate",
        "server",
        "--store",
        folder / "store",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return serving(command, port, folder, **environment)


def mlflows(version: str, folder: Path) -> contextlib.AbstractContextManager[str]:
    """MLflow's own server of a version, on SQLite, in ``folder``."""
    port = free_port()
    command = [
        peer(version), "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    path = f"{peer(version).parent}:{os.environ['PATH']}"
    return serving(command, port, folder, PATH=path, MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def observed(setting: Setting, folder: Path) -> dict[str, dict[str, Any]]:
    """What every script sees of MLflow's own server, two scripts at a time."""
    names = OF[setting.client]
    with mlflows(setting.server, folder) as url, ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(lambda name: run_script(setting.client, name, url), names), strict=True))


def recorded(setting: Setting, name: str) -> dict[str, Any]:
    """What a script saw of MLflow's own server when it was last recorded."""
    return json.loads((setting.folder / f"{name}.json").read_text(encoding="utf-8"))


def record(setting: Setting, name: str, steps: dict[str, Any]) -> None:
    """Keeps what a script saw of MLflow's own server."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(steps, indent=1, ensure_ascii=False, sort_keys=False)
    (setting.folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    for each in SETTINGS:
        with tempfile.TemporaryDirectory() as place:
            for script, seen in observed(each, Path(place)).items():
                record(each, script, seen)
                print(f"{each.folder.name}: {script}: {len(seen)} steps")

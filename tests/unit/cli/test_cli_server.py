"""The commands that start the web pages: what they refuse, and that they answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tidegate.cli import main
from tidegate.server import check_token, listen


def test_another_host_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["-C", str(tmp_path), "server", "--host", "0.0.0.0"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "bind-not-loopback" in told
    assert "TIDEGATE_TOKEN" in told
    assert list(tmp_path.iterdir()) == [], "it is refused before a store is made"


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SystemExit) as stopped:
        main(["-C", str(tmp_path), "ui", "--no-open", "--port", str(taken.getsockname()[1])])
    assert stopped.value.code == 1
    assert "port-in-use" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_can_be_guessed_is_for_this_machine_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_TOKEN", "too-short")
    with pytest.raises(SystemExit) as stopped:
        main(["-C", str(tmp_path), "server", "--host", "0.0.0.0"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "token-too-short" in told
    assert 'too-short"' not in told
    check_token("too-short", "127.0.0.1")
    check_token("long-enough-1234", "0.0.0.0")


@pytest.mark.parametrize("command", [["server"], ["ui", "--no-open"], ["server", "--store", "elsewhere"]])
def test_a_server_does_not_stand_before_another_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "tidegate.toml").write_text('server = "http://127.0.0.1:7070"\n')
    with pytest.raises(SystemExit) as stopped:
        main(["-C", str(tmp_path), *command])
    assert stopped.value.code == 2
    assert "server-of-server" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tidegate.toml"]


def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidegate", "-C", str(tmp_path), "ui", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" are at ")[1].strip()
        with urllib.request.urlopen(f"{url}api/v1/models", timeout=60) as answer:
            assert json.load(answer) == []
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            assert raw.recv(64).startswith(b"HTTP/1.1 400")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err

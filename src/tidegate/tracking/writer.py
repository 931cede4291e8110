"""Who writes a journal."""

from __future__ import annotations

import os
import re
import secrets
import socket


def host_name() -> str:
    """This machine, as far as it has a name."""
    return socket.gethostname()


def writer_name() -> str:
    """A name for a writer that no other one has, on this host or another."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", host_name())[:40].strip("-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"

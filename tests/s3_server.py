"""A real S3 server on loopback: one Ceph monitor, one OSD that keeps its data in memory, and a RADOS gateway."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

ACCESS_KEY, SECRET_KEY, BUCKET = "tester", "testers-secret", "tidegate-tests"
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

# Small, quick to start, without authentication inside; only the gateway asks for keys.
CONFIG = """\
[global]
fsid = {fsid}
mon_host = {mon_host}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.1
paxos_min_wait = 0.05
run_dir = {folder}
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
keyring = {folder}/keyring
mon_data = {folder}/mon
osd_data = {folder}/osd
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_run_sync_thread = false
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
rgw_enable_quota_threads = false
"""


class S3Server:
    """The processes, and the address of the gateway. ``stop_gateway`` and ``start_gateway`` make it go away and come back."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        assert not missing, f"the S3 tests need {', '.join(missing)}: run tools/object-store"
        self.folder = folder
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._cluster: list[subprocess.Popen] = []
        self._gateway: subprocess.Popen | None = None

    def start(self) -> None:
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        mon_host = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        text = CONFIG.format(fsid=fsid, mon_host=mon_host, folder=self.folder, port=self.port)
        (self.folder / "ceph.conf").write_text(text)
        self._run("ceph-authtool", "--create-keyring", "keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("monmaptool", "--create", "--addv", "a", mon_host, "--fsid", fsid, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "-c", "ceph.conf", "--keyring", "keyring", "--monmap", "monmap")
        self._cluster.append(self._spawn("ceph-mon", "-f", "-i", "a"))
        self._run("ceph", "-c", "ceph.conf", "osd", "new", osd, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "-c", "ceph.conf")
        self._cluster.append(self._spawn("ceph-osd", "-f", "-i", "0"))
        keys = ("--access-key", ACCESS_KEY, "--secret", SECRET_KEY)
        self._run("radosgw-admin", "-c", "ceph.conf", "user", "create", "--uid", "tester", "--display-name", "tester", *keys)
        self.start_gateway()
        self._make_bucket()

    def start_gateway(self) -> None:
        self._gateway = self._spawn("radosgw", "-f", "-n", "client.admin")
        wait_for_port(self.port, self._gateway)

    def stop_gateway(self) -> None:
        assert self._gateway is not None
        self._gateway.send_signal(signal.SIGKILL)
        self._gateway.wait()

    def stop(self) -> None:
        for process in [self._gateway, *reversed(self._cluster)]:
            if process is not None:
                process.kill()
                process.wait()

    def environment(self, endpoint: str = "") -> dict[str, str]:
        """The variables that a user would set."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def fresh_url(self) -> str:
        """An address under which nothing is stored yet."""
        return f"s3://{BUCKET}/{secrets.token_hex(8)}/deep"

    def unfinished_uploads(self) -> int:
        """How many uploads in parts were neither completed nor aborted."""
        everything = ("--allow-unordered", "--max-entries", "1000000")
        listed = self._run("radosgw-admin", "-c", "ceph.conf", "bucket", "list", "--bucket", BUCKET, *everything)
        return listed.count(".meta")

    def _make_bucket(self) -> None:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        # obstore makes no buckets; but "an object" of the host itself is one. Public, so that a proxy can change headers.
        host = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            virtual_hosted_style_request=True,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True, "default_headers": {"x-amz-acl": "public-read-write"}},
        )
        with contextlib.suppress(BaseError):  # made, but the answer has no etag, which obstore regrets
            host.put(BUCKET, b"")

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, check=False, cwd=self.folder, env=_environment(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return done.stdout

    def _spawn(self, *command: str) -> subprocess.Popen:
        with (self.folder / f"{command[0]}.out").open("ab") as out:
            return subprocess.Popen(
                [*command, "-c", "ceph.conf"], cwd=self.folder, env=_environment(), stdout=out, stderr=out, process_group=0
            )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port} after {seconds} s")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("CEPH", "PYTHON", "VIRTUAL"))}

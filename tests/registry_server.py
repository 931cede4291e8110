"""A real OCI registry on loopback: Debian's docker-registry, open, with a password, with tokens, or behind TLS."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from s3_server import free_port, wait_for_port

USER, PASSWORD = "tester", "testers-secret"
HTPASSWD = "tester:$2b$04$4SIna0FNE8delbA3GK.16eJOdpkt7rMpBnWtv8vUdBkWkjDfNpmYm\n"
ISSUER, SERVICE = "tests", "tidegate-tests"


class RegistryServer:
    """One process and its folder. ``auth`` is empty, ``password`` or ``token``."""

    def __init__(self, folder: Path, *, auth: str = "", tls: bool = False) -> None:
        assert shutil.which("docker-registry"), "the OCI tests need docker-registry: run tools/debian-packages docker-registry"
        self.folder = folder
        self.host = f"127.0.0.1:{free_port()}"
        self.certificate = folder / "server.crt"
        self.tokens = TokenServer(folder) if auth == "token" else None
        config = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "data")},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.host},
        }
        if tls:
            make_certificate(folder / "server.key", self.certificate)
            config["http"]["tls"] = {"certificate": str(self.certificate), "key": str(folder / "server.key")}
        if auth == "password":
            (folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
        if self.tokens:
            place = {
                "realm": self.tokens.url,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(folder / "tokens.crt"),
            }
            config["auth"] = {"token": place}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self._process: subprocess.Popen | None = None

    def start(self) -> RegistryServer:
        with (self.folder / "log").open("ab") as out:
            command = ["docker-registry", "serve", str(self.folder / "config.yml")]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, process_group=0)
        wait_for_port(int(self.host.partition(":")[2]), self._process)
        return self

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        if self.tokens:
            self.tokens.stop()

    def blob(self, digest: str) -> Path:
        """Where the registry keeps the bytes of a digest."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.folder / "data/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"


class TokenServer:
    """Gives out tokens for a name and a password, or for the refresh token ``refreshing``; remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        make_certificate(folder / "tokens.key", folder / "tokens.crt", edge=False)
        self.asked: list[dict[str, list[str]]] = []
        key = serialization.load_pem_private_key((folder / "tokens.key").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / "tokens.crt").read_bytes())
        chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                self._answer(parse_qs(urlsplit(self.path).query), known=self.headers.get("Authorization") == f"Basic {given}")

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer(form, known=form.get("refresh_token") == ["refreshing"])

            def _answer(self, asked: dict[str, list[str]], *, known: bool) -> None:
                server.asked.append(asked)
                data = json.dumps({"token": _token(key, chain, asked)} if known else {}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _token(key: rsa.RSAPrivateKey, chain: list[str], asked: dict[str, list[str]]) -> str:
    """A JSON Web Token as the Docker registry's specification "Token Authentication Implementation" wants it."""
    access = []
    for scope in asked.get("scope", []):
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": SERVICE,
        "sub": USER,
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": "1",
        "access": access,
    }
    parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": chain}, claims)]
    signature = key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return ".".join([*parts, _base64(signature)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_certificate(key_file: Path, certificate_file: Path, *, edge: bool = True) -> None:
    """A certificate of this machine's loopback address (``edge``), or one that signs tokens."""
    key = ec.generate_private_key(ec.SECP256R1()) if edge else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, locked = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))

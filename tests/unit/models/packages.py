"""Small packages of plain bytes, keys, and other people's tools, for the tests of what leaves and enters a project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tidegate import digest
from tidegate.models import Models
from tidegate.models.signing import TrustedKey, read_trusted_keys
from tidegate.records.model import Lineage, ModelVersion, PackagedFile, Signature, Tensor
from tidegate.store.objects import put_object

FILES = {"model.onnx": b"weights" * 1000, "tokens/vocabulary.json": b"{}", "README.md": b"# delay\n", ".gitattributes": b"*\n"}
SIGNATURE = Signature(
    inputs=[Tensor(name="wind", dtype="float64", shape=[-1, 1])],
    outputs=[Tensor(name="prediction", dtype="float64", shape=[-1, 1])],
)


def keep(models: Models, bucket, files: dict[str, bytes] = FILES, name: str = "delay") -> ModelVersion:
    """A version of these files; nothing can load it."""
    packaged = [PackagedFile(path=path, size=len(data), digest=put_object(bucket, data)) for path, data in files.items()]
    lineage = Lineage(git_commit="a" * 40, packages={"onnxruntime": "1.31.0"})
    return models.keep(name, packaged, format="onnx", loads_code=False, signature=SIGNATURE, lineage=lineage, description="late?")


class Key:
    """A pair of keys in files: ``private`` and ``public`` are their paths."""

    def __init__(self, folder: Path, name: str, key=None) -> None:
        key = key or ec.generate_private_key(ec.SECP256R1())
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
        self.id = digest.of_file(self.public)

    @property
    def trusted(self) -> tuple[TrustedKey, ...]:
        return read_trusted_keys([self.public.name], self.public.parent)


def edwards(folder: Path) -> Key:
    return Key(folder, "edwards", ed25519.Ed25519PrivateKey.generate())


def model_signing(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line of the package model-signing."""
    command = [sys.executable, "-m", "model_signing", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

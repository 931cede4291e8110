"""Pickles under other names. Whoever opens one runs what it says, so no library is given one."""

from __future__ import annotations

import io
import pickletools
import zipfile

_TEXTUAL = (b"(", b"c", b"]", b"}", b"l", b"d")
_ENDINGS = (".pkl", ".pickle", ".joblib", "/data.pkl")


def pickle_in(data: bytes) -> str:
    """What is pickled in a file's bytes, as words for people; empty if nothing is. Nothing is unpickled to find out."""
    if len(data) > 2 and data[0] == 0x80 and data[1] <= 5 and data[2] != 0:  # the header of safetensors may begin so, with a zero
        return "it is a pickle"
    if data.startswith(_TEXTUAL) and data.endswith(b".") and _parses(data):
        return "it is a pickle"
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                for entry in file.infolist():
                    if entry.filename.endswith(_ENDINGS) or (entry.file_size and _starts_as_pickle(file, entry)):
                        return f"the archive holds the pickle {entry.filename[:80]!r}"
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
            return ""  # whoever reads it next says what is wrong with it
    return ""


def _starts_as_pickle(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with file.open(entry) as content:
        start = content.read(3)
    return len(start) == 3 and start[0] == 0x80 and start[1] <= 5 and start[2] != 0


def _parses(data: bytes) -> bool:
    try:
        return sum(1 for _ in pickletools.genops(data)) > 1
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        return False

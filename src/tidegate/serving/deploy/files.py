"""Writing rendered files into a folder, over what was rendered there before and over nothing else."""

from __future__ import annotations

from pathlib import Path

from tidegate.errors import ConflictError, UnavailableError

RECORD = ".tidegate-rendered"
"""In the folder: which files in it were rendered."""


def write_files(files: dict[str, str], folder: Path) -> None:
    """Writes texts by their paths, all of them or none.

    Raises:
        ConflictError: one of the paths is a file that was not rendered.
        UnavailableError: the folder cannot be written.
    """
    record = folder / RECORD
    try:
        known = set(record.read_text(encoding="utf-8").splitlines()) if record.is_file() else set[str]()
        foreign = [path for path in files if path not in known and (folder / path).exists()]
        if foreign:
            raise ConflictError(
                "file-exists",
                f"{folder / foreign[0]} is there already",
                why="it was not rendered by this command",
                fix="choose another --output, or move it away",
            )
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text("\n".join(sorted(known | set(files))) + "\n", encoding="utf-8")
        for path, text in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            "output-unwritable", f"{folder} cannot be written", why=str(error), fix="choose another --output"
        ) from None

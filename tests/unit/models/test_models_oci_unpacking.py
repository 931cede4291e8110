"""Archives from elsewhere, honest and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import BadInputError
from tidegate.models.oci import unpacking
from tidegate.models.oci.unpacking import unpack
from tidegate.models.paths import check_path


def archive(path, members, *, compress=False, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content, *rest in members:
            entry = tarfile.TarInfo(name)
            entry.type = rest[0] if rest else tarfile.REGTYPE
            entry.linkname = content if rest else ""
            entry.size = 0 if rest else len(content)
            tar.addfile(entry, None if rest else io.BytesIO(content))
    path.write_bytes(gzip.compress(buffer.getvalue()) if compress else buffer.getvalue())
    return path


@pytest.mark.parametrize("form", ["tar", "tar+gzip"])
def test_plain_files_and_folders_come_out(form, tmp_path):
    long = "deep/" + "n" * 150 + "/weights.bin"
    members = [
        ("./", "", tarfile.DIRTYPE),
        ("./a.txt", b"hello"),
        ("deep", "", tarfile.DIRTYPE),
        (long, b"x" * 3_000_000),
        ("empty", b""),
    ]
    source = archive(tmp_path / "layer", members, compress=form == "tar+gzip")
    assert unpack(source, tmp_path / "out", form=form) == ["a.txt", long, "empty"]
    assert (tmp_path / "out/a.txt").read_bytes() == b"hello"
    assert (tmp_path / "out" / long).stat().st_size == 3_000_000
    assert (tmp_path / "out/empty").read_bytes() == b""


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", b"x")],
        [("/etc/absolute", b"x")],
        [("a/../../outside", b"x")],
        [("link", "/etc/passwd", tarfile.SYMTYPE)],
        [("link", "..", tarfile.SYMTYPE), ("link/outside", b"x")],
        [("hard", "a", tarfile.LNKTYPE)],
        [("device", "", tarfile.CHRTYPE)],
        [("pipe", "", tarfile.FIFOTYPE)],
        [("a", b"1"), ("a", b"2")],
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"1"), ("a", b"2")],
        [("..", "", tarfile.DIRTYPE)],
        [("new\nline", b"x")],
        [("/".join("d" * 40), b"x")],
    ],
)
def test_what_could_do_harm_is_refused(members, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInputError) as caught:
        unpack(archive(tmp_path / "layer", members), tmp_path / "out", form="tar")
    assert caught.value.code in {"archive-unsafe", "path-outside"}
    assert not (tmp_path / "outside").exists()


def test_a_bomb_is_stopped_before_it_goes_off(tmp_path):
    source = archive(tmp_path / "layer", [("zeros", bytes(300_000_000))], compress=True)
    assert source.stat().st_size < 400_000
    with pytest.raises(BadInputError, match="not unpacked") as caught:
        unpack(source, tmp_path / "out", form="tar+gzip")
    assert "unpacks to far more" in caught.value.why
    assert not (tmp_path / "out/zeros").exists(), "its declared size was enough to refuse it"


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_a_crowd_of_empty_files_is_stopped(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_MOST", 50)
    entries = [
        (f"d{number}", b"" if kind == tarfile.REGTYPE else "", *([kind] if kind == tarfile.DIRTYPE else []))
        for number in range(51)
    ]
    with pytest.raises(BadInputError) as caught:
        unpack(archive(tmp_path / "layer", entries, compress=True), tmp_path / "out", form="tar+gzip")
    assert caught.value.why == "it holds more than 50 files and folders"


def test_a_header_that_would_fill_the_memory_is_stopped(tmp_path):
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 200_000_000
    with gzip.open(tmp_path / "layer", "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT) + bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError) as caught:
            unpack(tmp_path / "layer", tmp_path / "out", form="tar+gzip")
        assert "header" in caught.value.why
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data", [b"not an archive" * 100, gzip.compress(b"x" * 5000)[:-20], b"\0" * 100], ids=["text", "cut", "zeros"]
)
def test_what_is_no_archive(data, tmp_path):
    (tmp_path / "layer").write_bytes(data)
    with pytest.raises(BadInputError):
        unpack(tmp_path / "layer", tmp_path / "out", form="tar+gzip")


def test_an_archive_that_is_cut_off(tmp_path):
    source = archive(tmp_path / "layer", [("a", b"x" * 100_000)])
    source.write_bytes(source.read_bytes()[:50_000])
    with pytest.raises(BadInputError):
        unpack(source, tmp_path / "out", form="tar")


@given(st.text(max_size=30))
def test_a_path_stays_inside_or_is_refused(text):
    try:
        path = check_path(text)
    except BadInputError:
        return
    assert path == text
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))

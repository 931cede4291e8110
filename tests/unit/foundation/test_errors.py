import pickle

import pytest

from tidegate import errors
from tidegate.errors import ApprovalMissing, TidegateError, missing_extra, without_passwords


def test_an_error_survives_another_process():
    error = ApprovalMissing("approval-missing", "one of two", why="rules", fix="ask ben")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.as_dict()) == (ApprovalMissing, error.as_dict())


def test_an_error_reads_as_what_why_fix():
    assert str(TidegateError("x-y", "it broke", why="rust", fix="oil")) == "error: it broke [x-y]\nwhy: rust\nfix: oil"


def test_empty_texts_are_left_out():
    assert str(TidegateError("x-y", "it broke")) == "error: it broke [x-y]"


@pytest.mark.parametrize(
    ("name", "exit_code", "status"),
    [("UsageError", 2, 400), ("ApprovalMissing", 6, 403), ("ConflictError", 1, 409), ("UnavailableError", 1, 503)],
)
def test_the_tree_says_exit_code_and_status(name, exit_code, status):
    kind = getattr(errors, name)
    assert (kind.exit_code, kind.http_status) == (exit_code, status)


def test_a_missing_extra_says_how_to_install_it():
    assert "tidegate[serving]" in missing_extra("serving", "uvicorn", "serving").fix


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:s3cret@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:s3@cr/et@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://host/db?user=ann&password=s3cret&x=1", "postgresql://host/db?user=ann&password=***&x=1"),
        ("cannot reach https://:s3cret@host: refused", "cannot reach https://:***@host: refused"),
        ("s3://bucket/prefix?secret_access_key=s3cret", "s3://bucket/prefix?secret_access_key=***"),
        ("postgresql://ann@host:5432/db", "postgresql://ann@host:5432/db"),
        ("https://t0ken@host:1/x", "https://***@host:1/x"),
        ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
        ("delay@3", "delay@3"),
    ],
)
def test_no_text_shows_a_password(text, shown):
    assert without_passwords(text) == shown

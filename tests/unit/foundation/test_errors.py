import pickle

import pytest

from tidegate import errors
from tidegate.errors import ApprovalMissing, TidegateError, missing_extra


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

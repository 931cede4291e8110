"""Policies are read when they are asked for."""

import pytest

from tidegate.errors import NotFoundError, UsageError
from tidegate.workspace import Workspace


def test_an_edit_of_the_file_holds_at_once(tmp_path):
    file = tmp_path / "tidegate.toml"
    file.write_text("")
    workspace = Workspace.open(tmp_path)
    with pytest.raises(NotFoundError):
        workspace.policy("delay")
    file.write_text('[models.delay]\ntask = "binary"\n')
    assert workspace.policy("delay").task == "binary"
    file.write_text("[models.delay")
    with pytest.raises(UsageError):
        workspace.policy("delay")
    workspace.store.close()

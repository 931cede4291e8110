"""Source files of a project: what a model reaches is found by reading, and runs under names of its own."""

import gc
import sys
import textwrap
import threading

import pytest

from tidegate.errors import BadInputError
from tidegate.models.isolation import IsolatedCode
from tidegate.models.sources import collect

FILES = {
    "wharf.py": """
        import json
        import piers.near as near
        from piers import far
        from piers.near import LENGTH as length

        def measured():
            import piers.late
            from .piers import nothing_of_this_runs
            return near.LENGTH

        def lazily():
            from piers.late import WORD
            import piers.late
            return WORD, piers.late.WORD
    """,
    "piers/__init__.py": "NAME = __name__",
    "piers/near.py": "from . import far\nfrom .deep.inner import *\nLENGTH = 3\n",
    "piers/far.py": "import numpy as np\nfrom typing import TYPE_CHECKING\n",
    "piers/late.py": "WORD = 'late'",
    "piers/unused.py": "raise RuntimeError('nobody asked for this')",
    "piers/deep/inner.py": "__all__ = ['DEPTH']\nDEPTH = 9\n",
}


def written(folder, files=FILES):
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text))


@pytest.fixture
def project(tmp_path, monkeypatch):
    written(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_sources_are_those_that_are_reached_and_nothing_is_imported(project):
    before = set(sys.modules)
    found = collect(["wharf"])
    assert set(found.files) == {
        "wharf.py", "piers/__init__.py", "piers/near.py", "piers/far.py", "piers/late.py", "piers/deep/inner.py"
    }  # fmt: skip
    assert found.requires == {"numpy"}
    assert not {name for name in set(sys.modules) - before if name.startswith(("wharf", "piers"))}


def test_what_cannot_travel_is_refused(project):
    with pytest.raises(BadInputError, match="code-in-main"):
        collect(["__main__"])
    (project / "broken.py").write_text("def (")
    with pytest.raises(BadInputError, match="bad-source"):
        collect(["broken"])
    (project / "piers" / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    with pytest.raises(BadInputError, match="code-without-source"):
        collect(["piers.fast"])
    assert collect(["numpy", "json", "no_such_module"]).files == {}


def test_modules_run_under_names_of_their_own(tmp_path):
    written(tmp_path)
    path, before = list(sys.path), set(sys.modules)
    one, two = IsolatedCode(tmp_path), IsolatedCode(tmp_path)
    wharf = one.module("wharf")
    assert wharf.length == wharf.near.LENGTH == 3
    assert wharf.near.DEPTH == 9  # a star import, of a folder without __init__.py
    assert wharf.lazily() == ("late", "late")
    assert wharf.json.loads("[1]") == [1]
    assert wharf.near.far is wharf.far
    assert two.module("wharf") is not wharf
    assert sys.path == path
    assert {name.partition(".")[0] for name in set(sys.modules) - before} == {one.prefix, two.prefix}
    one.forget(), two.forget()
    assert wharf.lazily()[0] == "late"  # it goes on working, and finds what it needs again
    one.forget()
    gc.collect()
    assert set(sys.modules) == before
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_module_of_the_process_is_not_shadowed(tmp_path):
    written(tmp_path, {"json.py": "WHO = 'mine'", "user.py": "import json\nimport csv\n"})
    code = IsolatedCode(tmp_path)
    user = code.module("user")
    assert user.json.WHO == "mine"
    assert not hasattr(sys.modules["json"], "WHO")
    assert user.csv is __import__("csv")
    code.forget()


def test_a_module_that_fails_leaves_nothing_behind(tmp_path):
    written(tmp_path, {"bad.py": "import good\n1 / 0", "good.py": ""})
    code = IsolatedCode(tmp_path)
    with pytest.raises(ZeroDivisionError):
        code.module("bad")
    assert f"{code.prefix}.bad" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        code.module("absent")
    code.forget()


def test_threads_import_a_module_once(tmp_path):
    written(tmp_path, {"once.py": "import time\ntime.sleep(0.05)\nREADY = True"})
    code, found = IsolatedCode(tmp_path), []
    threads = [threading.Thread(target=lambda: found.append(code.module("once").READY)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [True] * 8
    code.forget()

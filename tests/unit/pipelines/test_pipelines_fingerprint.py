"""The table of stale caches: which edit runs a step again, and which does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tidegate.pipelines.fingerprint import code_of, key_of

STEPS = '''
"""The module's text."""
import functools
from dataclasses import dataclass

import numpy as np

import other
from other import imported, Scaler as Sc
from pack.deep import far

RATE = 0.1
TABLE = {"a": 1, "b": 2, "c": {3, 4, 5}}
ARRAY = np.array([1.0, 2.0, 3.0])
UNUSED = 1


def helper(x):
    """What it does."""
    return x + RATE


def retry(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            for _ in range(times):
                result = function(*args)
            return result
        return wrapper
    return decorate


@retry(times=3)
def decorated(x):
    return x * 2


@functools.lru_cache(maxsize=8)
def remembered(x):
    return x * 4


def make(n):
    def inner(x):
        return x * n
    return inner


closure = make(3)
bound = functools.partial(helper, x=4)
short = lambda value: value + 5
shorts = [lambda value: value + 6, lambda value: value + 7]


def recursive(n):
    return recursive(n - 1) if n else ping(0)


def ping(n):
    return pong(n - 1) if n > 0 else 8


def pong(n):
    return ping(n - 1)


@dataclass
class Row:
    value: int = 9

    def twice(self):
        """A method."""
        return self.value * second()


class Child(Row):
    limit = 10


def second():
    return 2


def default(x, by=11):
    return x * by


class Config:
    def __init__(self):
        self.depth = 12


CONFIG = Config()


def step_function(x):
    """The step."""
    # a comment
    import local_import
    from local_from import taken

    def nested(y):
        return y + 13

    values = [other.scale(value) for value in ARRAY]
    return (
        helper(x), values, imported(x), Sc().apply(x), decorated(x), remembered(x), closure(x), bound(), short(x), shorts[0](x),
        recursive(3), Child().twice(), default(x), TABLE["a"], CONFIG.depth, nested(x), local_import.thing(x), taken(x), far(x),
        np.add(x, 1), other.LEVELS.high, np.linalg.norm([x]),
    )
'''
OTHER = """
SCALE = 20


def scale(x):
    return x * SCALE


def imported(x):
    return x + 21


def unused(x):
    return x + 22


class Scaler:
    def apply(self, x):
        return x + 23


class LEVELS:
    low = 24
    high = 25
"""
FILES = {
    "steps.py": STEPS,
    "other.py": OTHER,
    "local_import.py": "def thing(x):\n    return x + 30\n",
    "local_from.py": "def taken(x):\n    return x + 31\n",
    "pack/__init__.py": "",
    "pack/deep.py": "from . import deeper\n\n\ndef far(x):\n    return deeper.farther(x)\n",
    "pack/deeper.py": "def farther(x):\n    return x + 32\n",
}

SKIPS = {
    "comment": ("steps.py", "# a comment", "# another comment"),
    "comment gone": ("steps.py", "    # a comment\n", ""),
    "docstring of the step": ("steps.py", '"""The step."""', '"""The very step."""'),
    "docstring gone": ("steps.py", '    """The step."""\n', ""),
    "docstring of a helper": ("steps.py", '"""What it does."""', '"""What it really does."""'),
    "docstring of a method": ("steps.py", '"""A method."""', '"""A short method."""'),
    "docstring of the module": ("steps.py", '"""The module\'s text."""', '"""Another text.\n\nMore."""'),
    "layout": ("steps.py", "    return x + RATE", "    return (\n        x + RATE\n    )"),
    "blank lines": ("steps.py", "def helper(x):", "\n\n\n\ndef helper(x):"),
    "a global that is not used": ("steps.py", "UNUSED = 1", "UNUSED = 2"),
    "a function that is not used": ("other.py", "x + 22", "x + 222"),
    "order of a dictionary": ("steps.py", '"a": 1, "b": 2,', '"b": 2, "a": 1,'),
    "order of a set": ("steps.py", "{3, 4, 5}", "{5, 3, 4}"),
    "parentheses": ("other.py", "return x * SCALE", "return (x) * SCALE"),
}
RUNS = {
    "body": ("steps.py", "return y + 13", "return y + 1300"),
    "helper": ("steps.py", "return x + RATE", "return x - RATE"),
    "constant": ("steps.py", "RATE = 0.1", "RATE = 0.2"),
    "other module": ("other.py", "return x * SCALE", "return x / SCALE"),
    "constant of another module": ("other.py", "SCALE = 20", "SCALE = 200"),
    "closure variable": ("steps.py", "closure = make(3)", "closure = make(30)"),
    "closure body": ("steps.py", "return x * n", "return x / n"),
    "imported function": ("other.py", "x + 21", "x + 210"),
    "imported class's method": ("other.py", "x + 23", "x + 230"),
    "inherited method": ("steps.py", "self.value * second()", "self.value + second()"),
    "function that a method calls": ("steps.py", "return 2\n", "return 3\n"),
    "field of a parent class": ("steps.py", "value: int = 9", "value: int = 90"),
    "class attribute": ("steps.py", "limit = 10", "limit = 100"),
    "class used as a namespace": ("other.py", "high = 25", "high = 250"),
    "lambda": ("steps.py", "value + 5", "value + 50"),
    "lambda in a list": ("steps.py", "value + 7", "value + 70"),
    "partial's argument": ("steps.py", "x=4", "x=40"),
    "recursion": ("steps.py", "recursive(n - 1)", "recursive(n - 2)"),
    "mutual recursion": ("steps.py", "return ping(n - 1)", "return ping(n - 2)"),
    "decorated helper": ("steps.py", "    return x * 2\n", "    return x * 3\n"),
    "decorator's argument": ("steps.py", "times=3", "times=4"),
    "decorator's body": ("steps.py", "result = function(*args)", "result = function(*args) + 1"),
    "function in an lru_cache": ("steps.py", "x * 4", "x * 5"),
    "default": ("steps.py", "by=11", "by=12"),
    "array": ("steps.py", "[1.0, 2.0, 3.0]", "[1.0, 2.0, 4.0]"),
    "type of an array": ("steps.py", "[1.0, 2.0, 3.0]", "[1, 2, 3]"),
    "dictionary's value": ("steps.py", '"b": 2', '"b": 3'),
    "set inside a dictionary": ("steps.py", "{3, 4, 5}", "{3, 4, 6}"),
    "attribute of an object": ("steps.py", "self.depth = 12", "self.depth = 120"),
    "module imported in the function": ("local_import.py", "x + 30", "x + 300"),
    "name imported in the function": ("local_from.py", "x + 31", "x + 310"),
    "module of a package, two steps away": ("pack/deeper.py", "x + 32", "x + 320"),
    "which function is meant": ("steps.py", "from other import imported,", "from other import unused as imported,"),
    "string quotes do not hide a change": ("steps.py", 'TABLE["a"]', 'TABLE["b"]'),
}


def _key(project, files) -> str:
    parts = code_of(project(files).step_function)
    assert parts.unhashable == []
    return key_of(parts.with_inputs({"x": "1"}))


def _edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[file], "the edit must do something"
    return {**FILES, file: FILES[file].replace(old, new)}


@pytest.mark.parametrize("edit", SKIPS.values(), ids=SKIPS)
def test_an_edit_that_changes_nothing_keeps_the_key(project, edit):
    assert _key(project, FILES) == _key(project, _edited(*edit))


@pytest.mark.parametrize("edit", RUNS.values(), ids=RUNS)
def test_an_edit_that_matters_changes_the_key(project, edit):
    assert _key(project, FILES) != _key(project, _edited(*edit))


def test_the_parts_name_what_they_are(project):
    parts = code_of(project(FILES).step_function).code
    assert parts["global steps.RATE"] == "0.1"
    assert parts["closure steps.make.<locals>.inner.n"] == "3"
    assert {"function steps.step_function", "function other.scale", "class steps.Row", "function pack.deeper.farther"} <= set(
        parts
    )
    assert not any("unused" in part.lower() for part in parts)


def test_the_key_is_the_same_in_another_process(project, tmp_path):
    here = _key(project, FILES)
    script = "import sys; sys.path.insert(0, '.'); import steps\nfrom tidegate.pipelines.fingerprint import code_of, key_of\n"
    script += "print(key_of(code_of(steps.step_function).with_inputs({'x': '1'})))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path / "project1",
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


def test_a_new_version_of_a_package_changes_the_key(tmp_path):
    step = "import fakepkg\nfrom fakepkg.inner import twice\n\ndef run(x):\n    return fakepkg.once(x) + twice(x)\n"
    (tmp_path / "steps.py").write_text(step)
    site = tmp_path / "site-packages"
    (site / "fakepkg").mkdir(parents=True)
    (site / "fakepkg/__init__.py").write_text("def once(x):\n    return x\n")
    (site / "fakepkg/inner.py").write_text("def twice(x):\n    return x\n")
    script = (
        f"import sys; sys.path[:0] = ['.', {str(site)!r}]; import steps\nfrom tidegate.pipelines.fingerprint import code_of\n"
    )
    script += "print(code_of(steps.run).packages['Fake-Dist'])"
    found = []
    for version in ("1.0", "1.1"):
        info = site / f"fake_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Fake-Dist\nVersion: {version}\n")
        (info / "RECORD").write_text("fakepkg/__init__.py,,\nfakepkg/inner.py,,\n")
        done = subprocess.run([sys.executable, "-B", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append(done.stdout.strip())
        (info / "METADATA").unlink()
        (info / "RECORD").unlink()
        info.rmdir()
    assert found == ["1.0", "1.1"]


def test_packages_are_named_by_their_distribution(project):
    module = project(
        {"steps.py": "import yaml\nimport numpy as np\n\ndef run(x):\n    import sklearn\n    return yaml, np.add(x, 1)\n"}
    )
    packages = code_of(module.run).packages
    assert {"PyYAML", "numpy", "scikit-learn", "python"} == set(packages)
    text = "from __future__ import annotations\nimport pandas as pd\n\ndef run(x: list[pd.DataFrame]):\n    return x[0].mean()\n"
    assert set(code_of(project({"steps.py": text}).run).packages) == {"pandas", "python"}


@pytest.mark.parametrize(
    "made",
    [
        "threading.Lock()",
        "open(__file__)",
        "(value for value in [])",
        "__import__('duckdb').connect()",
        "[1, {'deep': threading.Lock()}]",
    ],
)
def test_what_cannot_be_hashed_is_listed(project, made):
    module = project({"steps.py": f"import threading\n\nTHING = {made}\n\ndef run(x):\n    return THING\n"})
    parts = code_of(module.run)
    assert len(parts.unhashable) == 1
    assert parts.unhashable[0].startswith("global steps.THING: ")
    if hasattr(module.THING, "close"):
        module.THING.close()


def test_a_file_edited_after_its_import_counts_as_what_was_imported(project, tmp_path):
    module = project({"live.py": "def run(x):\n    return x + 1\n"})
    before = code_of(module.run)
    path = Path(module.__file__)
    path.write_text("def run(x):\n    return x + 1000\n")
    assert code_of(module.run).code == before.code
    fresh = project({"live.py": "def run(x):\n    return x + 1000\n"}, path.parent)
    assert code_of(fresh.run).code != before.code


def test_code_whose_file_no_longer_matches_counts_by_its_bytecode(project):
    module = project({"live.py": "K = 1\n\ndef run(x):\n    return x + K\n"})
    path = Path(module.__file__)
    path.write_text("K = 1\n\ndef run(x):\n    return x + 1000\n")  # before anything looked at the file
    stale = code_of(module.run)
    assert "global live.K" in stale.code
    fresh = project({"live.py": path.read_text()}, path.parent)
    assert code_of(fresh.run).code["function live.run"] != stale.code["function live.run"]


def test_a_whole_module_used_as_a_value_counts_whole(project):
    files = {"steps.py": "import other\n\ndef run(x):\n    return vars(other)\n", "other.py": OTHER}
    before = code_of(project(files).run).code
    after = code_of(project({**files, "other.py": OTHER.replace("x + 22", "x + 222")}).run).code
    assert before != after


def test_two_names_that_change_places_are_a_change(project):
    text = "def one(x):\n    return x\n\ndef two(x):\n    return -x\n\na, b = one, two\n\ndef run(x):\n    return a(x) - b(x)\n"
    assert _run_code(project, text) != _run_code(project, text.replace("= one, two", "= two, one"))
    text = "def make(n):\n    return lambda x: x * n\n\na, b = make(1), make(2)\n\ndef run(x):\n    return a(x) - b(x)\n"
    assert _run_code(project, text) != _run_code(project, text.replace("make(1), make(2)", "make(2), make(1)"))


def test_a_method_of_an_object_counts_with_the_object(project):
    text = "class A:\n    def __init__(self, n):\n        self.n = n\n    def go(self, x):\n        return x * self.n\n\n"
    text += "go = A(1).go\ncut = 'ab'.strip\n\ndef run(x):\n    return go(x), cut('a')\n"
    base = _run_code(project, text)
    assert base != _run_code(project, text.replace("A(1)", "A(2)"))
    assert base != _run_code(project, text.replace("'ab'", "'abc'"))


def _run_code(project, text):
    parts = code_of(project({"steps.py": text}).run)
    assert parts.unhashable == []
    return parts.code


def test_a_name_that_does_not_exist_yet_is_a_part(project):
    parts = code_of(project({"steps.py": "def run(x):\n    return missing(x)\n"}).run)
    assert parts.code["global steps.missing"] == "undefined"


def test_the_step_decorator_is_metadata(project):
    plain = "from tidegate.pipelines import step\n\n@step\ndef run(x):\n    return x\n"
    dressed = plain.replace("@step", "@step(name='other', cache=False)")
    assert code_of(project({"steps.py": plain}).run).code == code_of(project({"steps.py": dressed}).run).code


def test_code_from_exec_counts_by_its_bytecode():
    namespace: dict[str, object] = {"__name__": "nowhere", "K": 1}
    exec(dedent("def run(x):\n    return x + K\n"), namespace)
    first = code_of(namespace["run"])
    namespace["K"] = 2
    assert first.code["global nowhere.K"] == "1"
    assert code_of(namespace["run"]).code["global nowhere.K"] == "2"


def test_a_module_of_the_project_may_have_a_standard_name(project):
    files = {
        "steps.py": "def run(x):\n    from this import thing\n    return thing(x)\n",
        "this.py": "def thing(x):\n    return x\n",
    }
    before = code_of(project(files).run).code
    assert "function this.thing" in before
    assert before != code_of(project({**files, "this.py": "def thing(x):\n    return -x\n"}).run).code


def test_a_step_inside_a_package_s_decorator_counts_by_its_own_code(project):
    text = "import contextlib\n\nK = 1\n\n@contextlib.contextmanager\ndef run(x):\n    yield x + K\n"
    parts = code_of(project({"steps.py": text}).run)
    assert "global steps.K" in parts.code
    assert not any("contextlib._" in part or "contextlib.c" in part for part in parts.code)
    assert parts.unhashable == []

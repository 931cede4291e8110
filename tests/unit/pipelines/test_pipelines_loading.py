"""Finding a pipeline by its name."""

from __future__ import annotations

import sys

import pytest

from tidegate.errors import TidegateError
from tidegate.pipelines import load_function, load_pipeline

FLOW = "from tidegate.pipelines import pipeline, step\n\n@step\ndef one():\n    return 1\n\n@pipeline(name='night-run')\ndef night():\n    return one()\n"


@pytest.fixture
def folder(project, tmp_path):
    project({"loadable.py": FLOW, "package/__init__.py": "", "package/inner.py": FLOW})
    (tmp_path / "project1/broken.py").write_text("def f():\n    return {}['key']\n\nf()\n")
    (tmp_path / "project1/typo.py").write_text("def f(:\n")
    (tmp_path / "project1/missing.py").write_text("import nowhere_to_be_found\n")
    return tmp_path / "project1"


def test_found(folder):
    assert load_pipeline("loadable:night", folder).name == "night-run"
    assert load_pipeline("loadable:night-run", folder) is load_pipeline("loadable:night", folder)
    assert load_pipeline("package.inner:night", folder).target == "package.inner:night"
    assert load_function("loadable:one", folder)() == 1
    assert sys.path.count(str(folder)) == 1


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("loadable", "bad-target", "module:function"),
        ("loadable:nigh", "no-such-pipeline", "did you mean 'night'?"),
        ("loadabel:night", "no-such-module", "did you mean 'loadable'?"),
        ("package.iner:night", "no-such-module", "did you mean 'package.inner'?"),
        ("loadable:one", "not-a-pipeline", "decorate the function with @pipeline"),
        ("broken:night", "pipeline-broken", "broken.py:2 in f"),
        ("typo:night", "pipeline-broken", "typo.py:1"),
        ("missing:night", "pipeline-broken", "nowhere_to_be_found"),
    ],
)
def test_not_found(folder, target, code, text):
    with pytest.raises(TidegateError) as caught:
        load_pipeline(target, folder)
    assert caught.value.code == code
    assert text in str(caught.value)


def test_a_module_that_another_one_hides(folder):
    (folder / "json.py").write_text(FLOW)
    with pytest.raises(TidegateError) as caught:
        load_pipeline("json:night", folder)
    assert caught.value.code == "module-shadowed"


def test_a_function_that_is_not_there(folder):
    with pytest.raises(TidegateError) as caught:
        load_function("loadable:nigt", folder)
    assert (caught.value.code, caught.value.fix) == ("no-such-function", "did you mean 'night'?")

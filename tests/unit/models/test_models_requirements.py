from importlib.metadata import version

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.errors import IntegrityError
from tidegate.models import Candidate, package
from tidegate.models.requirements import differing, requirements


def test_a_lock_names_what_is_imported_and_what_that_needs():
    found = dict(line.split("==") for line in requirements(["sklearn"]))
    assert found["scikit-learn"] == version("scikit-learn")
    assert {"numpy", "scipy", "joblib", "threadpoolctl"} <= set(found)
    assert not {"tidegate", "pytest", "duckdb", "sqlalchemy"} & set(found)  # not the whole environment
    assert requirements(["no_such_module"]) == [f"numpy=={version('numpy')}"]


def test_what_is_installed_otherwise():
    assert differing(requirements(["sklearn"])) == []
    assert differing(["numpy==1.0", "no-such-thing==1"]) == [
        f"numpy {version('numpy')} instead of 1.0",
        "no-such-thing is not installed",
    ]


def test_a_package_names_its_requirements_and_an_error_tells_which_differ(models, store, flights, late):
    fitted = LogisticRegression().fit(flights[["wind"]], late)
    found = models.register(Candidate("delay", fitted, flights[["wind"]], "binary"))
    assert any(line.startswith("onnxruntime==") for line in found.manifest.requirements)
    assert not any(line.startswith("skl2onnx==") for line in found.manifest.requirements)  # it made the graph, it does not run it
    other = msgspec.structs.replace(found.manifest, requirements=["onnxruntime==0.1"])
    with pytest.raises(IntegrityError, match="broken-package") as caught:
        package.built(msgspec.structs.replace(found, manifest=other), {"model.onnx": b"x" * 100})
    assert f"onnxruntime {version('onnxruntime')} instead of 0.1" in caught.value.why
    assert np.isfinite(found.manifest.parity.largest_difference)

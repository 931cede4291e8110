"""What every package ``Format`` must do."""

from __future__ import annotations

import numpy as np

from tidegate.errors import BadInputError
from tidegate.models import Candidate
from tidegate.models.formats import Format, Predictor
from tidegate.models.packing import Contents, pack
from tidegate.records.model import Lineage, Manifest
from tidegate.testing.expecting import refused


class FormatSuite:
    """Needs the fixtures ``model_format`` and ``candidate``: a model that this format can hold."""

    def test_the_same_model_gives_the_same_bytes(self, model_format: Format, candidate: Candidate) -> None:
        """Or registering twice would make two versions."""
        assert pack(candidate, [model_format]).files == pack(candidate, [model_format]).files

    def test_what_is_loaded_answers_like_the_estimator(self, model_format: Format, candidate: Candidate) -> None:
        """On the candidate's own rows and on the odd ones that packing tries."""
        contents = pack(candidate, [model_format])
        answers = _loaded(model_format, candidate, contents).predict(contents.probe.rows)
        for name, expected in contents.probe.expected.items():
            if name == "label":
                assert np.array_equal(answers[name], expected)
            else:
                assert np.allclose(answers[name], expected, rtol=1e-4, atol=1e-4)

    def test_an_input_that_is_missing_is_refused(self, model_format: Format, candidate: Candidate) -> None:
        """Before the model is asked, and by its name."""
        contents = pack(candidate, [model_format])
        predictor = _loaded(model_format, candidate, contents)
        with refused(BadInputError):
            predictor.predict(dict(list(contents.probe.rows.items())[1:]))


def _loaded(model_format: Format, candidate: Candidate, contents: Contents) -> Predictor:
    manifest = Manifest(
        name=candidate.name,
        version=1,
        task=candidate.task,
        format=contents.format,
        loads_code=contents.loads_code,
        signature=contents.signature,
        files=[],
        lineage=Lineage(),
        created_at=0,
        classes=contents.classes,
    )
    return model_format.load(contents.files, manifest)

"""Folders of Transformers: tiny random models, made here; text in, the task's outputs out. Needs the packages of the group ``slow``."""

import json
import pickle
import socket

import numpy as np
import pytest

from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.models import Candidate
from tidegate.models.formats import find_format, formats
from tidegate.models.formats.transformers import check_files
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "late", "flight"]
TEXTS = np.array(["good flight", "bad late late flight", "what", "good " * 40] * 3, dtype=object)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def saved(folder, labels):
    import tokenizers
    import torch
    import transformers

    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=16, **names)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, id2label=dict(enumerate(labels)), label2id={label: place for place, label in enumerate(labels)},
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer(list(TEXTS), padding=True, truncation=True, return_tensors="pt")).logits
    return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer), logits


def loaded(contents, task, files=None):
    manifest = Manifest(
        name="mood", version=1, task=task, format=contents.format, loads_code=False, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load(files or contents.files, manifest)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "labels"),
    [("binary", ["no", "yes"]), ("multiclass", ["a", "b", "c"]), ("multilabel", ["a", "b", "c"]), ("regression", ["value"])],
)
def test_text_in_outputs_out(tmp_path, task, labels):
    pipeline, logits = saved(tmp_path / "model", labels)
    (tmp_path / "model" / "training_args.bin").write_bytes(pickle.dumps({}))  # Trainer leaves it there: it is not taken along
    contents = pack(Candidate("mood", tmp_path / "model", {"text": TEXTS}, task), formats())
    assert (contents.format, contents.loads_code, contents.classes) == (
        "transformers",
        False,
        [] if task == "regression" else labels,
    )
    assert sorted(contents.files) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert pack(Candidate("mood", pipeline, {"text": TEXTS}, task), formats()).files == contents.files
    answers = next(iter(loaded(contents, task).predict({"text": TEXTS}).values()))
    wanted = {
        "binary": lambda: logits.softmax(-1)[:, 1], "multiclass": lambda: logits.softmax(-1), "multilabel": logits.sigmoid,
        "regression": lambda: logits[:, 0],
    }[task]().numpy()  # fmt: skip
    np.testing.assert_allclose(answers, wanted, atol=1e-6)
    with pytest.raises(BadInputError, match="missing-value"):
        loaded(contents, task).predict({"text": np.array(["x", None], dtype=object)})


@pytest.mark.slow
def test_wrong_examples_and_damaged_folders(tmp_path):
    saved(tmp_path, ["no", "yes"])
    with pytest.raises(BadInputError, match="bad-input-type"):
        pack(Candidate("mood", tmp_path, np.ones((4, 2)), "binary"), formats())
    with pytest.raises(BadInputError, match="wrong-output"):
        pack(Candidate("mood", tmp_path, {"text": TEXTS}, "regression"), formats())
    contents = pack(Candidate("mood", tmp_path, {"text": TEXTS}, "binary"), formats())
    for path in contents.files:
        with pytest.raises(IntegrityError, match="broken-package"):
            loaded(contents, "binary", {**contents.files, path: b"\x00"})
    renamed = contents._replace(classes=["yes", "no"])
    with pytest.raises(IntegrityError, match="other classes"):
        loaded(renamed, "binary")


DATA = {"config.json": b"{}", "model.safetensors": b"", "tokenizer.json": b"{}"}


@pytest.mark.parametrize("path", ["pytorch_model.bin", "model.pt", "modeling_own.py", "tokenizer.pkl", "weights", "model.so"])
def test_what_could_run_code_is_refused(path):
    check_files(DATA)
    with pytest.raises(RefusedError, match="code-in-folder") as caught:
        check_files({**DATA, path: b""})
    assert path in caught.value.what


@pytest.mark.parametrize("path", ["config.json", "tokenizer_config.json"])
def test_a_folder_that_asks_for_its_own_code_is_refused(path):
    for asking in (
        {"auto_map": {"AutoModel": "modeling_own.Own"}},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"text_config": {"_attn_implementation": {"": "paged|somebody/kernel@v1:run"}}},
    ):
        with pytest.raises(RefusedError, match="code-in-folder"):
            check_files({**DATA, path: json.dumps(asking).encode()})
    check_files({**DATA, path: json.dumps({"_attn_implementation": "sdpa", "name": "a/b"}).encode()})


def test_a_path_outside_and_a_folder_without_weights():
    with pytest.raises(BadInputError, match="path-outside"):
        check_files({**DATA, "../config.json": b""})
    with pytest.raises(IntegrityError, match="broken-package"):
        check_files({"config.json": b"{}"})


def test_a_folder_is_read_before_anything_is_imported(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(RefusedError, match="code-in-folder"):
        pack(Candidate("mood", tmp_path, {"text": TEXTS}, "binary"), formats())

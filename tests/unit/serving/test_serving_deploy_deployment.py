"""What a user says about a deployment is looked at before it stands in any file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Signature
from tidegate.records.policy import ServingPolicy
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.deploy import Wanted, make_deployment
from tidegate.serving.deploy.deployment import dns_label

IMAGE = "registry.example:5000/team/tidegate:1.2@sha256:" + "b" * 64


def version(name="delay", number=3, size=1000):
    manifest = Manifest(
        name=name,
        version=number,
        task="binary",
        format="onnx",
        loads_code=False,
        signature=Signature(inputs=[], outputs=[]),
        files=[PackagedFile(path="model.onnx", size=size, digest="d" * 64)],
        lineage=Lineage(),
        created_at=0,
    )
    return ModelVersion(digest="a" * 64, manifest=manifest)


def make(wanted=None, *, champion=None, policy=None, plan=None, folder=None, **more):
    wanted = wanted or Wanted(image=IMAGE, bucket="s3://models/prod")
    return make_deployment(
        champion or version(),
        wanted,
        policy=policy or ServingPolicy(),
        plan=plan or RolloutPolicy(),
        folder=folder or Path(),
        **more,
    )


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"image": ""}, "image-missing"),
        ({"image": "registry/tidegate:latest"}, "image-not-pinned"),
        ({"image": "registry/tidegate@sha256:abc"}, "image-not-pinned"),
        ({"image": IMAGE + "\n- privileged: true"}, "image-not-pinned"),
        ({"bucket": "s3://models/$(whoami)"}, "bad-option"),
        ({"bucket": "s3://models/../other"}, "bad-option"),
        ({"bucket": "s3://key:secret@models"}, "bad-option"),
        ({"bucket": "s3://models\nEnvironment=LD_PRELOAD=x"}, "bad-option"),
        ({"bucket": "", "store": "/srv/a store"}, "bad-option"),
        ({"namespace": "Prod"}, "bad-option"),
        ({"namespace": "a" * 64}, "bad-option"),
        ({"secret": "../other"}, "bad-option"),
        ({"gateway": "-"}, "bad-option"),
        ({"hostname": "delay.example;rm"}, "bad-option"),
        ({"replicas": 0}, "bad-option"),
        ({"replicas": 3, "max_replicas": 2}, "bad-option"),
        ({"max_replicas": 10**9}, "bad-option"),
        ({"share": 0.1}, "bad-option"),
    ],
)
def test_what_does_not_belong_into_a_file_is_refused(wanted, code):
    with pytest.raises(TidegateError) as caught:
        make(Wanted(**({"image": IMAGE, "bucket": "s3://models/prod"} | wanted)))
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)


def test_a_candidate_gets_a_share_that_is_one_and_none_on_top_of_another():
    shadow = RolloutPolicy(mode="shadow")
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="share"):
            make(Wanted(image=IMAGE, bucket="s3://models/prod", share=share), candidate=version(number=4), plan=shadow)
    wanted = Wanted(image=IMAGE, bucket="s3://models/prod", share=0.05)
    made = make(wanted, candidate=version(number=4), plan=shadow)
    assert made.candidate is not None
    assert (made.candidate.version, made.share) == (4, 0.05)
    for mode in ("canary", "ab"):
        with pytest.raises(UsageError, match="has the mode") as caught:
            make(wanted, candidate=version(number=4), plan=RolloutPolicy(mode=mode))
        assert caught.value.code == "mode-not-shadow"


def test_memory_follows_the_model():
    small, large = make(), make(champion=version(size=2**30))
    assert small.memory_mib == 256
    assert large.memory_mib == 256 + 4 * 1024
    assert large.memory_mib % 64 == 0


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_every_model_has_a_dns_label_with_room_for_suffixes(name):
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,43}[a-z0-9])?", dns_label(name))


def test_names_that_would_become_the_same_stay_apart():
    names = ["delay", "Delay", "delay.", "de.lay", "de-lay", "de_lay", "x" * 60, "x" * 61, "tidegate-delay", "9"]
    assert len({dns_label(name) for name in names}) == len(names)
    assert dns_label("delay") == "delay"


def test_the_settings_are_toml_and_bring_their_keys(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "release.pem").write_text("-----BEGIN PUBLIC KEY-----\n")
    policy = ServingPolicy(signed_by=["keys/release.pem"], max_rows=7)
    made = make(policy=policy, folder=tmp_path, champion=version(name="de.lay"))
    table = tomllib.loads(made.settings["tidegate.toml"])["models"]["de.lay"]["serving"]
    assert (table["max_rows"], table["signed_by"]) == (7, ["signer-1.pem"])
    assert made.settings["signer-1.pem"] == "-----BEGIN PUBLIC KEY-----\n"
    with pytest.raises(NotFoundError, match="no file"):
        make(policy=ServingPolicy(signed_by=["keys/gone.pem"]), folder=tmp_path)


def test_without_a_container_no_image_is_asked_for():
    assert make(Wanted(bucket="s3://models/prod"), contained=False).image == ""

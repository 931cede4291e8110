"""The command that a rendered pod runs, run: it starts, answers its own probes, and ends in time."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time

import yaml
from serving_shop import NOW, NoCatalog

from tidegate.clock import Clock
from tidegate.models import Candidate, Models
from tidegate.records.ledger import Promoted
from tidegate.records.policy import ServingPolicy
from tidegate.records.receipt import Baseline
from tidegate.records.rollout import RolloutPolicy
from tidegate.release.ledger import append
from tidegate.serving.deploy import Wanted, find_target, make_deployment
from tidegate.serving.deploy.pod import GRACE_SECONDS
from tidegate.store.bucket import open_bucket

IMAGE = "registry.example/tidegate@sha256:" + "b" * 64


def test_the_command_of_a_pod_serves_from_a_bucket_and_answers_its_probes(estimators, s3_url, tmp_path):
    table, trained = estimators
    bucket = open_bucket(s3_url, tmp_path / "copies")
    version = Models(bucket, NoCatalog(), Clock.replay(NOW)).register(Candidate("delay", trained[0], table, "binary"))
    event = Promoted(version=1, digest=version.digest, receipt="r", previous=Baseline())
    append(bucket, "delay", lambda _state: event, clock=Clock.replay(NOW), actor="ana")
    policy = ServingPolicy(max_rows=2)
    deployment = make_deployment(
        version, Wanted(image=IMAGE, bucket=s3_url), policy=policy, plan=RolloutPolicy(), folder=tmp_path
    )
    objects = {
        each["kind"]: each for each in yaml.safe_load_all(next(iter(find_target("kubernetes").render(deployment).values())))
    }
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    places = {mount["mountPath"]: tmp_path / mount["name"] for mount in container["volumeMounts"]}
    for place in places.values():
        place.mkdir()
    for name, text in objects["ConfigMap"]["data"].items():
        (places["/etc/tidegate"] / name).write_text(text)
    places["/etc/tidegate"].chmod(0o555)
    words = [str(places.get(word, "0" if word == "8080" else word)) for word in container["args"]]
    environment = {each["name"]: str(places.get(each["value"], each["value"])) for each in container["env"]}
    process = subprocess.Popen(
        [sys.executable, "-m", *container["command"], *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    try:
        line = process.stdout.readline()
        assert "serving delay@1 on" in line, process.communicate(timeout=30)[1]
        port = int(line.strip().rpartition(":")[2])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", container[probe]["httpGet"]["path"])
            assert connection.getresponse().status == 200
            connection.close()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=GRACE_SECONDS)
        assert (process.returncode, time.monotonic() - began < GRACE_SECONDS) == (0, True), errors
    finally:
        process.kill()
        process.communicate()

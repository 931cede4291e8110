"""Rendered files, held against the schemas of those who read them; and what must hold of every pod, whoever runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files as resource_files
from pathlib import Path

import jsonschema
import kubernetes_validate
import msgspec
import pytest
import yaml

from tidegate.errors import UsageError
from tidegate.records.deployment import Deployment, Pinned
from tidegate.serving import server
from tidegate.serving.deploy import find_target, targets, write_files
from tidegate.serving.deploy.pod import DRAIN_SECONDS, GRACE_SECONDS, PRESTOP_SECONDS
from tidegate.serving.rollout.pairing import STOP_SECONDS

ROOT = Path(__file__).parents[3]
PLAIN = Deployment(
    model="delay",
    name="delay",
    champion=Pinned(version=3, digest="a" * 64),
    image="registry.example/tidegate@sha256:" + "b" * 64,
    bucket="s3://models/prod",
    store="",
    secret="delay-bucket",
    settings={"tidegate.toml": '[models."delay".serving]\nmax_rows = 7\n'},
    memory_mib=320,
)
FULL = msgspec.structs.replace(
    PLAIN, namespace="prod", gateway="public", hostname="delay.example", replicas=2, max_replicas=5, monitor=True
)
CANARY = msgspec.structs.replace(
    PLAIN, namespace="prod", gateway="public", candidate=Pinned(version=4, digest="c" * 64), share=0.05
)
GRPC = msgspec.structs.replace(FULL, grpc=True)
CLUSTER = ("kubernetes", "argo", "kserve")
CASES = [(name, case) for name in CLUSTER for case in ("full", "canary")]
DEPLOYMENTS = {"full": GRPC, "canary": CANARY}
FOREIGN = {"Rollout", "AnalysisTemplate", "HTTPRoute", "ServiceMonitor", "InferenceService"}

# Only what is relied on, in words of our own; the whole schemas are asked in the slow tests.
NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
INFERENCE_SERVICE = {
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "serving.kserve.io/v1beta1"},
        "spec": {
            "required": ["predictor"],
            "additionalProperties": False,
            "properties": {
                "predictor": {
                    "required": ["containers"],
                    "properties": {
                        "canaryTrafficPercent": {"type": "integer", "minimum": 0, "maximum": 100},
                        "minReplicas": {"type": "integer"},
                        "maxReplicas": {"type": "integer"},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                        "containers": {"type": "array", "minItems": 1, "items": NAMED},
                    },
                }
            },
        },
    },
}


def objects(target, deployment):
    return [each for text in find_target(target).render(deployment).values() for each in yaml.safe_load_all(text)]


def of_kind(found, kind):
    return [each for each in found if each["kind"] == kind]


def pods(target, deployment):
    """The pod specs of whatever has some, each with the labels and annotations that its pods get."""
    for each in objects(target, deployment):
        if each["kind"] in {"Deployment", "Rollout"}:
            yield each["spec"]["template"]["spec"], each["spec"]["template"]["metadata"]
        if each["kind"] == "InferenceService":
            yield each["spec"]["predictor"], each["spec"]["predictor"]


@pytest.mark.parametrize(("target", "case"), CASES)
def test_kubernetes_takes_every_object(target, case):
    checked = 0
    for each in objects(target, DEPLOYMENTS[case]):
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, "1.37", strict=True)
            checked += 1
        if each["kind"] == "Rollout":  # a Deployment with another strategy, but for the steps
            same = {
                **each,
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "spec": {**each["spec"], "strategy": {"type": "Recreate"}},
            }
            kubernetes_validate.validate(same, "1.37", strict=True)
        if each["kind"] == "InferenceService":
            jsonschema.validate(each, INFERENCE_SERVICE)
            own = {"canaryTrafficPercent", "minReplicas", "maxReplicas", "labels", "annotations"}
            spec = {key: value for key, value in each["spec"]["predictor"].items() if key not in own}
            kubernetes_validate.validate(
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}, "1.37", strict=True
            )
    assert checked >= {"kserve": 3 if case == "full" else 1}.get(target, 4)


def test_the_check_of_schemas_sees_a_mistake():
    broken = of_kind(objects("kubernetes", FULL), "Deployment")[0]
    broken["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "75"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


@pytest.mark.parametrize(("target", "case"), CASES)
def test_a_pod_is_nobody_and_may_nothing(target, case):
    found = list(pods(target, DEPLOYMENTS[case]))
    assert found
    for spec, described in found:
        [container] = spec["containers"]
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["runAsNonRoot"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {**spec.get("securityContext", {}), **rights}["runAsUser"] > 0
        assert spec["automountServiceAccountToken"] is False
        assert "@sha256:" in container["image"]
        assert described["annotations"]["tidegate.dev/model-digest"] in {"sha256:" + "a" * 64, "sha256:" + "c" * 64}
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable == {"/tmp", "/var/lib/tidegate"}


@pytest.mark.parametrize(("target", "case"), CASES)
def test_a_pod_asks_for_what_it_computes_on(target, case):
    for spec, _ in pods(target, DEPLOYMENTS[case]):
        [container] = spec["containers"]
        threads = {each["name"]: each["value"] for each in container["env"]}
        assert threads["OMP_NUM_THREADS"] == threads["OPENBLAS_NUM_THREADS"] == container["resources"]["requests"]["cpu"] == "1"
        assert "cpu" not in container["resources"]["limits"], "a limit would stop it in the middle of a request"
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"] == "320Mi"


@pytest.mark.parametrize(("target", "case"), CASES)
def test_three_probes_ask_what_the_server_answers(target, case):
    for spec, _ in pods(target, DEPLOYMENTS[case]):
        [container] = spec["containers"]
        asked = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert asked == {
            "startupProbe": "/v2/health/ready",
            "readinessProbe": "/v2/health/ready",
            "livenessProbe": "/v2/health/live",
        }


def test_a_pod_has_time_to_drain():
    joined = 10 + STOP_SECONDS + 1 + 30  # who follows the pointer, the pairs of a rollout, the prediction log
    assert server.GRACE_SECONDS + server._DRAIN_SECONDS + joined < DRAIN_SECONDS
    assert GRACE_SECONDS > PRESTOP_SECONDS + DRAIN_SECONDS
    for target in ("kubernetes", "argo"):
        for spec, _ in pods(target, FULL):
            assert spec["terminationGracePeriodSeconds"] == GRACE_SECONDS
            assert spec["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": PRESTOP_SECONDS}}


def test_the_server_understands_its_arguments():
    """The words of the command line are those that ``tidegate serve`` takes."""
    from tidegate.cli import main

    for spec, _ in pods("kubernetes", GRPC):
        words = spec["containers"][0]["args"]
        place = words.index("serve")
        with pytest.raises(SystemExit) as ended:
            main([*words[place:], "--help"])
        assert ended.value.code == 0
        assert words[place + 1] == "delay"


@pytest.mark.parametrize("target", [each.name for each in targets()])
def test_credentials_are_named_and_never_there(target, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    files = find_target(target).render(FULL)
    text = "\n".join(files.values())
    assert "very-secret" not in text
    assert "AWS_" not in text
    assert "delay-bucket" in text


@pytest.mark.parametrize("target", [each.name for each in targets()])
def test_equal_deployments_give_equal_bytes(target):
    first, second = (find_target(target).render(msgspec.structs.replace(FULL)) for _ in range(2))
    assert first == second
    assert all(text.endswith("\n") for text in first.values())


def test_selectors_find_the_pods_of_their_own():
    found = objects("kubernetes", CANARY)
    templates = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(found, "Deployment")]
    for each in of_kind(found, "Deployment"):
        wanted = each["spec"]["selector"]["matchLabels"]
        assert sum(wanted.items() <= labels.items() for labels in templates) == 1
    for each in of_kind(found, "Service"):
        assert sum(each["spec"]["selector"].items() <= labels.items() for labels in templates) == 1
    budget = of_kind(found, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"]
    assert all(budget.items() <= labels.items() for labels in templates)


def test_grpc_has_a_port_wherever_requests_pass():
    for target in CLUSTER:
        for spec, _ in pods(target, GRPC):
            [container] = spec["containers"]
            assert [port["containerPort"] for port in container["ports"]] == [8080, 8001]
            assert container["args"][container["args"].index("--grpc-port") + 1] == "8001"
        [policy] = of_kind(objects(target, GRPC), "NetworkPolicy")
        assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [8080, 8001]
        for service in of_kind(objects(target, GRPC), "Service"):
            assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, "http"), (8001, "grpc")]
    compose = yaml.safe_load(find_target("compose").render(GRPC)["compose.yaml"])["services"]["delay"]
    assert compose["ports"] == ["127.0.0.1:8080:8080", "127.0.0.1:8001:8001"]
    for target in targets():
        assert ("--grpc-port" in "".join(target.render(GRPC).values())) is True
        assert "8001" not in "".join(target.render(FULL).values())


@pytest.mark.parametrize("target", ["kubernetes", "argo"])
@pytest.mark.parametrize("case", [FULL, msgspec.structs.replace(CANARY, monitor=True)], ids=["full", "canary"])
def test_each_pod_is_scraped_once(target, case):
    found = objects(target, case)
    [monitor] = of_kind(found, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]
    absent = {each["key"] for each in wanted["matchExpressions"] if each["operator"] == "DoesNotExist"}
    asked = [
        each["spec"]["selector"]
        for each in of_kind(found, "Service")
        if wanted["matchLabels"].items() <= each["metadata"]["labels"].items() and not absent & each["metadata"]["labels"].keys()
    ]
    for _, described in pods(target, case):
        assert sum(selector.items() <= described["labels"].items() for selector in asked) == 1


def test_a_route_shares_requests_as_it_was_told():
    [route] = of_kind(objects("kubernetes", CANARY), "HTTPRoute")
    [rule] = route["spec"]["rules"]
    services = {each["metadata"]["name"] for each in of_kind(objects("kubernetes", CANARY), "Service")}
    assert {each["name"]: each["weight"] for each in rule["backendRefs"]} == {"delay": 95, "delay-candidate": 5}
    assert {each["name"] for each in rule["backendRefs"]} <= services
    [plain] = of_kind(objects("kubernetes", FULL), "HTTPRoute")
    assert plain["spec"]["hostnames"] == ["delay.example"]


def test_kserve_shares_through_knative_alone():
    [service] = of_kind(objects("kserve", CANARY), "InferenceService")
    assert service["spec"]["predictor"]["canaryTrafficPercent"] == 5
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Knative"
    assert "lifecycle" not in service["spec"]["predictor"]["containers"][0]
    [service] = of_kind(objects("kserve", FULL), "InferenceService")
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert "canaryTrafficPercent" not in service["spec"]["predictor"]


def test_argo_shifts_only_what_was_proven():
    found = objects("argo", CANARY)
    [rollout] = of_kind(found, "Rollout")
    [template] = of_kind(found, "AnalysisTemplate")
    canary = rollout["spec"]["strategy"]["canary"]
    assert ["analysis" if "analysis" in step else step["setWeight"] for step in canary["steps"]] == [
        "analysis", 5, "analysis", 25, "analysis", 50, "analysis",
    ]  # fmt: skip
    assert {each["templateName"] for step in canary["steps"] for each in step.get("analysis", {}).get("templates", [])} == {
        template["metadata"]["name"]
    }
    [metric] = template["spec"]["metrics"]
    # Argo calls a metric that has only inconclusive measurements a success at its count, unless successes are asked for.
    assert metric["consecutiveSuccessLimit"] >= 1
    assert metric["successCondition"] != metric["failureCondition"]
    assert metric["failureLimit"] == 0
    assert metric["provider"]["web"]["url"].startswith("http://delay-stable.prod/v2/models/delay/rollout")
    services = {each["metadata"]["name"] for each in of_kind(found, "Service")}
    assert {canary["stableService"], canary["canaryService"]} <= services
    [route] = of_kind(found, "HTTPRoute")
    assert {each["name"]: each["weight"] for each in route["spec"]["rules"][0]["backendRefs"]} == {
        "delay-stable": 100,
        "delay-candidate": 0,
    }


def test_pods_of_a_candidate_are_pinned_and_all_others_follow_the_pointer():
    def served(target, deployment):
        return [spec["containers"][0]["args"][3] for spec, _ in pods(target, deployment)]

    assert served("argo", CANARY) == served("kserve", CANARY) == ["delay@4"]
    assert served("kubernetes", CANARY) == ["delay", "delay@4"]
    assert served("argo", FULL) == served("kserve", FULL) == served("kubernetes", FULL) == ["delay"]
    assert not of_kind(objects("argo", FULL), "AnalysisTemplate"), "a new image has no rollout in the ledger to ask about"


@pytest.mark.parametrize(
    ("target", "deployment", "code"),
    [
        ("kubernetes", msgspec.structs.replace(PLAIN, bucket="", store="/srv/store"), "bucket-needed"),
        ("kubernetes", msgspec.structs.replace(CANARY, gateway=""), "gateway-needed"),
        ("kubernetes", msgspec.structs.replace(CANARY, share=0.0), "bad-option"),
        ("kserve", msgspec.structs.replace(CANARY, share=0.0), "bad-option"),
        ("argo", PLAIN, "namespace-needed"),
        ("argo", msgspec.structs.replace(FULL, bucket=""), "bucket-needed"),
        ("kserve", msgspec.structs.replace(PLAIN, bucket=""), "bucket-needed"),
        ("kserve", msgspec.structs.replace(CANARY, grpc=True), "bad-option"),
        ("helm", CANARY, "bad-option"),
        ("compose", CANARY, "bad-option"),
        ("systemd", CANARY, "bad-option"),
    ],
)
def test_what_a_target_has_not_is_told(target, deployment, code):
    with pytest.raises(UsageError) as caught:
        find_target(target).render(deployment)
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)


def test_an_unknown_target_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="kubernets") as caught:
        find_target("kubernets")
    assert "'kubernetes'" in caught.value.fix


@pytest.mark.parametrize(
    "deployment", [FULL, msgspec.structs.replace(PLAIN, bucket="", store="/srv/store")], ids=["bucket", "folder"]
)
def test_compose_takes_its_file(deployment):
    files = find_target("compose").render(deployment)
    whole = yaml.safe_load(files["compose.yaml"])
    schema = resource_files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(whole, json.loads(schema.read_text()))
    service = whole["services"]["delay"]
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "65532:65532")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["reservations"]["cpus"] == "1"
    assert ("env_file" in service) == bool(deployment.bucket)
    mounted = {Path(volume["source"]).name for volume in service["volumes"] if volume["type"] == "bind"}
    assert "project" in mounted
    assert "project/tidegate.toml" in files


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze belongs to systemd, which is not here")
def test_systemd_takes_its_unit_and_grades_it_well(tmp_path):
    files = find_target("systemd").render(PLAIN)
    unit = tmp_path / "tidegate-delay.service"
    unit.write_text(files[unit.name].replace("/opt/tidegate/bin/tidegate", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    graded = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False
    )
    assert graded.returncode == 0, graded.stdout[-300:]


def test_a_folder_is_written_over_what_was_rendered_and_nothing_else(tmp_path):
    write_files({"a/one.yaml": "1\n"}, tmp_path / "out")
    write_files({"a/one.yaml": "2\n", "two.yaml": "2\n"}, tmp_path / "out")
    assert (tmp_path / "out/a/one.yaml").read_text() == "2\n"
    (tmp_path / "out/mine.yaml").write_text("mine\n")
    with pytest.raises(Exception, match="is there already"):
        write_files({"two.yaml": "3\n", "mine.yaml": "3\n"}, tmp_path / "out")
    assert (tmp_path / "out/mine.yaml").read_text() == "mine\n"
    assert (tmp_path / "out/two.yaml").read_text() == "2\n"


def rendered_by_helm(folder, values):
    import helm_python as helm  # helm-python-sdk belongs to the slow tests

    with helm.Chart.load(str(folder)) as chart:
        texts = chart.render(values, name="delay", namespace="prod")
    return [each for text in texts.values() for each in yaml.safe_load_all(text) if each]


def in_order(found):
    return sorted(found, key=lambda each: (each["kind"], each["metadata"]["name"]))


def told_by_their_own_validators(found):
    place = subprocess.run([ROOT / "tools" / "crd-validators"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    asked = subprocess.run(["node", f"{place}/validate.mjs"], input=json.dumps(found), capture_output=True, text=True, check=True)
    return json.loads(asked.stdout)


@pytest.mark.slow
def test_argo_gateway_and_prometheus_take_their_objects():
    """Held against validators that were made from the projects' own resource definitions."""
    of_others = FOREIGN - {"InferenceService"}
    found = [each for target, case in CASES for each in objects(target, DEPLOYMENTS[case]) if each["kind"] in of_others]
    assert {each["kind"] for each in found} == of_others
    broken = [json.loads(json.dumps(each)) for each in found]
    for each in broken:
        each["spec"] = ["nothing", "of", "this"]
    told = told_by_their_own_validators(found + broken)
    assert told[: len(found)] == [""] * len(found)
    assert all(told[len(found) :])


@pytest.mark.slow
def test_helm_renders_what_kubernetes_gets(tmp_path):
    """The chart, rendered by Helm's own code, gives the very objects of ``--target kubernetes``, with its values and with others."""
    write_files(find_target("helm").render(GRPC), tmp_path)
    plain = msgspec.structs.replace(GRPC, namespace="")
    assert in_order(rendered_by_helm(tmp_path / "delay", {})) == in_order(objects("kubernetes", plain))
    other = msgspec.structs.replace(
        plain,
        bucket="gs://other",
        image="other@sha256:" + "e" * 64,
        max_replicas=0,
        replicas=7,
        gateway="",
        hostname="",
        monitor=False,
        memory_mib=512,
    )
    values = {
        "bucket": other.bucket, "image": other.image, "maxReplicas": 0, "replicas": 7, "gateway": "", "hostname": "", "monitor": False, "memoryMiB": 512,
    }  # fmt: skip
    assert in_order(rendered_by_helm(tmp_path / "delay", values)) == in_order(objects("kubernetes", other))


@pytest.mark.slow
def test_helm_refuses_values_that_are_not_pinned_and_finds_nothing_to_complain_about(tmp_path):
    import helm_python as helm  # helm-python-sdk belongs to the slow tests

    odd = msgspec.structs.replace(FULL, settings={"tidegate.toml": '# {{ .Values.secret }} {{ fail "no" }}\n'})
    write_files(find_target("helm").render(odd), tmp_path)
    told = helm.lint(str(tmp_path / "delay"))
    assert [message for message in told["messages"] if message["severity"] >= 2] + told["errors"] == []
    [project] = of_kind(rendered_by_helm(tmp_path / "delay", {}), "ConfigMap")
    assert project["data"] == odd.settings
    with pytest.raises(Exception, match="does not match pattern"):
        rendered_by_helm(tmp_path / "delay", {"image": "tidegate:latest"})

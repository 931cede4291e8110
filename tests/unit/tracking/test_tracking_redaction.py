"""Secrets are taken out, and what only looks like one stays. No string here opens anything: all are made up."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.tracking import redaction
from tidegate.tracking.redaction import (
    WHOLE_FILE,
    entropy,
    is_secret_file,
    is_secret_name,
    redact_arguments,
    redact_file,
    redact_text,
)

A = "aB3dE5gH7jK9"
TOKENS = {
    "aws-access-key-id": "AKIA" + "ABCDEFGHIJKLMNOP",
    "google-api-key": "AIza" + (A * 3)[:35],
    "google-oauth": "GOCSPX-" + (A * 3)[:28],
    "github-token": "ghp_" + A * 3,
    "gitlab-token": "glpat-" + A * 2,
    "slack-token": "xoxb-" + "123456789012-" + A,
    "stripe-key": "sk_" + "live_" + A * 2,
    "anthropic-key": "sk-ant-" + "api03-" + A * 3,
    "openai-key": "sk-" + "proj-" + A * 3,
    "huggingface-token": "hf_" + "abcdefghij" * 4,
    "pypi-token": "pypi-" + "AgEIcHlwaS5vcmc" + A * 5,
    "npm-token": "npm_" + A * 3,
    "jwt": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + "." + A,
}


@pytest.mark.parametrize(("kind", "token"), TOKENS.items())
@pytest.mark.parametrize("around", ["x = '{}'\n", "{}", "# {} is old\n", '{{"k": "{}"}}', "curl -H {}\r\n"])
def test_known_tokens_are_taken_out_of_any_place(kind, token, around):
    data = around.format(token).encode()
    found = redact_file("train.py", data)
    assert token.encode() not in found.data
    assert [finding.kind for finding in found.findings] == [kind]
    assert found.data.count(b"\n") == data.count(b"\n")


PLACES = [
    ("a.py", 'aws_secret_access_key = "{}"', "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab", "aws-secret-key"),
    ("a.py", "url = 'postgresql://ana:{}@db.example.com/x'", "hunter2", "url-password"),
    ("pip.conf", "index-url = https://user:{}@pypi.example.com/simple", "s3cr-et", "url-password"),
    ("a.sh", "git clone https://{}@git.example.com/x.git", A * 2, "url-token"),
    ("a.py", "headers = {{'Authorization': 'Bearer {}'}}", A * 2, "bearer-token"),
    ("a.py", "DB_PASSWORD = '{}'", "hunter2", "password"),
    ("a.py", "connect(user='ana', password='{}')", "correct horse battery", "password"),
    ("a.json", '{{"db": {{"password": "{}"}}}}', "hunter2", "password"),
    ("nb.ipynb", '"source": ["api_key = \\"{}\\"\\n"]', "d8Kf02LmQz71xYvB", "secret value"),
    ("a.py", "config['client_secret'] = \"{}\"", "d8Kf02LmQz71xYvBp3", "secret value"),
    ("conf.yaml", "  password: {}", "hunter2", "password"),
    ("settings.ini", "secret_key = {}", "d8Kf02LmQz71xYvBp3", "secret value"),
    ("run.sh", "export API_KEY={}", "d8Kf02LmQz71xYvBp3", "secret value"),
    ("Dockerfile", "ENV MY_TOKEN={}", "d8Kf02LmQz71xYvBp3", "secret value"),
    ("a.ini", "conn = AccountName=x;AccountKey={};", "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMTIz==", "azure-key"),
    ("a.py", "hook = 'https://hooks.slack.com/services/{}'", "T00000000/B00000000/XXXXXXXXXXXXXXXX", "slack-webhook"),
]


@pytest.mark.parametrize(("path", "text", "secret", "kind"), PLACES)
def test_secrets_are_known_by_what_stands_around_them(path, text, secret, kind):
    found = redact_file(path, f"first = 1\n{text.format(secret)}\nlast = 2\n".encode())
    assert secret.encode() not in found.data
    assert found.findings == [(2, kind)]
    assert found.data.startswith(b"first = 1\n")
    assert found.data.endswith(b"last = 2\n")


def test_a_private_key_goes_and_the_lines_stay():
    body = "\n".join(["MIIEpAIBAAKCAQEA" + "a1B2" * 10] * 5)
    text = f"x = 1\nK = '''-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----'''\ny = 2\n"
    found = redact_file("keys.py", text.encode())
    assert b"MIIE" not in found.data
    assert found.data.count(b"\n") == text.count("\n")
    assert [finding.kind for finding in found.findings] == ["private-key"]
    assert b"MIIE" not in redact_file("keys.py", text.partition("-----END")[0].encode()).data


HARMLESS = [
    ("a.py", "tokenizer = 'meta-llama/Llama-3.1-8B-Instruct'"),
    ("a.py", "max_tokens = 4096"),
    ("a.py", "pad_token = '<|endoftext|>'"),
    ("a.py", "password = getpass.getpass()"),
    ("a.py", "password = os.environ['DB_PASSWORD']"),
    ("a.py", "password: str = Field(...)"),
    ("a.py", "def login(user, password=None): ..."),
    ("a.py", "password = '<your password>'"),
    ("a.py", "PASSWORD = 'changeme'"),
    ("a.py", "raise ValueError('token missing: set API_KEY')"),
    ("a.py", "api_key = 'your-api-key-goes-here-1234'"),
    ("a.py", "secret_name = 'projects/1234/secrets/db/versions/7'"),
    ("a.py", "commit = '9fceb02d0ae598e95dc970b74767f19372d61af8'"),
    ("a.py", "digest = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'"),
    ("a.yaml", "password: ${DB_PASSWORD}"),
    ("a.yaml", "password: {{ vault.db }}"),
    ("a.yaml", "api_key: !secret openai"),
    ("a.toml", "token_url = 'https://login.example.com/oauth/token'"),
    ("a.py", "url = f'postgresql://{user}:{password}@{host}/db'"),
    ("a.py", "url = 'postgresql://user:${PASSWORD}@host/db'"),
    ("README.md", "git@github.com:team/project.git, mail ana@example.com at 12:30"),
    ("a.md", "See https://example.com:8080/path@2x.png and http://localhost:5000"),
    ("uv.lock", 'sdist = { url = "https://files.example.org/packages/d8/Kf02Lm", hash = "sha256:d8f02a" }'),
    ("package-lock.json", '"integrity": "sha512-d8Kf02LmQz71xYvBp3d8Kf02LmQz71xYvBp3==", "token": "d8Kf02LmQz71xYvBp3"'),
    ("requirements.txt", "numpy==2.0 --hash=sha256:" + "d8f02a71" * 8),
    ("app.min.js", "var token='d8Kf02LmQz71xYvBp3';"),
    ("a.js", "x" * 3000 + "token='d8Kf02LmQz71xYvBp3'"),
    ("a.py", "key = 'carrier'; keys = ['a', 'b']; sort(key='distance_km_2013_06')"),
    ("a.py", "sk-learn is no key, and ask-questions-about-things-that-are-long-enough neither"),
    ("a.pub", "ssh-rsa AAAAB3NzaC1yc2E"),
    (".env.example", "API_KEY=your-key"),
    ("a.py", "if text.startswith('-----BEGIN PRIVATE KEY-----') and text.endswith('-----END PRIVATE KEY-----'): load(text)"),
    ("a.py", "run(PWD='/tmp')"),
    ("a.py", "GRANT_PASSWORD = 'grant-password'"),
    ("a.py", "answer['next_page_token'] = 'eyJpbmRleCI6IDExfQ=='"),
]


@pytest.mark.parametrize(("path", "text"), HARMLESS)
def test_what_only_looks_like_a_secret_stays(path, text):
    data = f"{text}\n".encode()
    assert redact_file(path, data) == (data, [])


@pytest.mark.parametrize(
    "path",
    [".env", "sub/.env.production", "prod.env", "key.pem", ".ssh/id_rsa", ".netrc", "credentials.json", ".pypirc", "a/.aws/credentials", "ID_ED25519", "service-account-prod.json", "terraform.tfstate", ".streamlit/secrets.toml"],
)  # fmt: skip
def test_files_that_are_secrets_go_whole(path):
    assert is_secret_file(path)
    assert redact_file(path, b"anything\n") == (WHOLE_FILE, [(1, "secret file")])
    assert redact_file(path, b"") == (b"", [])


@pytest.mark.parametrize(
    "path", [".env.example", "environment.yml", "id_rsa.pub", "keys.py", "credentials.py", "pem.md", "tokens.json"]
)
def test_files_with_similar_names_stay(path):
    assert not is_secret_file(path)


def test_a_binary_file_keeps_its_size():
    token = TOKENS["github-token"].encode()
    data = b"\0\1\2password='hunter2'" + token + b"\0"
    found = redact_file("state.db", data)
    assert found.data == b"\0\1\2password='hunter2'" + b"x" * len(token) + b"\0"


def test_utf16_is_read_too():
    data = "password = 'hunter2'\r\n".encode("utf-16")
    found = redact_file("a.py", data)
    assert "hunter2" not in found.data.decode("utf-16")
    assert redact_file("a.py", b"\xff\xfe\0") == (b"\xff\xfe\0", [])


def test_two_secrets_on_a_line_and_one_inside_the_other():
    one, two = TOKENS["github-token"], TOKENS["gitlab-token"]
    found = redact_file("a.py", f"password = '{one}' + '{two}'\n".encode())
    assert one.encode() not in found.data
    assert two.encode() not in found.data
    assert found.data.count(b"removed by tidegate") == 2


def test_redacting_twice_changes_nothing_more():
    for path, text, secret, _ in PLACES:
        once = redact_file(path, text.format(secret).encode()).data
        assert redact_file(path, once) == (once, [])


def test_the_command_line_loses_its_secrets():
    token = TOKENS["openai-key"]
    given_ = [
        "train.py",
        "--password",
        "hunter2",
        "--api-key=abc",
        "--lr=0.1",
        token,
        "db://u:pw1234@h",
        "--token",
        "--next",
        "token",
    ]
    kept, taken = redact_arguments(given_)
    assert kept == [
        "train.py",
        "--password",
        "[removed]",
        "--api-key=[removed]",
        "--lr=0.1",
        "[openai-key removed by tidegate]",
        "db://u:[url-password removed by tidegate]@h",
        "--token",
        "--next",
        "token",
    ]
    assert taken == [f"command line, argument {number}" for number in (2, 3, 5, 6)]


@pytest.mark.parametrize(("name", "expected"), [("--db-password", True), ("API_KEY", True), ("--hf-token", True), ("--tokenizer", False), ("--max-tokens", False), ("--key", False), ("--epochs", False)])  # fmt: skip
def test_names_of_secrets(name, expected):
    assert is_secret_name(name) is expected


def test_text_without_secrets_is_unchanged():
    assert redact_text("https://github.com/team/project.git") == "https://github.com/team/project.git"
    assert redact_text("\udcff") == "\udcff"


def test_our_own_source_has_no_secrets():
    package = Path(redaction.__file__).parents[1]
    found = {
        str(path): redact_file(path.name, path.read_bytes()).findings
        for path in package.rglob("*")
        if path.suffix in {".py", ".html", ".js", ".css"}
    }
    assert {path: findings for path, findings in found.items() if findings} == {}


def test_entropy_is_in_bits():
    assert entropy(b"aaaa") == 0
    assert entropy(bytes(range(256))) == 8


@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.yaml", "b.bin", "x.lock"]))
def test_any_bytes_are_read_and_lines_never_move(data, path):
    found = redact_file(path, data)
    assert found.findings or found.data == data
    if b"\0" not in data and data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        assert found.data.count(b"\n") == data.count(b"\n")


@given(
    st.text("abc =:'\"\n", max_size=60), st.sampled_from(sorted(TOKENS.values())), st.text(" \n'\":,;()", min_size=1, max_size=20)
)
def test_a_token_never_stays(before, token, after):
    data = f"{before} {token}{after}".encode()
    assert re.search(re.escape(token).encode(), redact_file("a.py", data).data) is None


@pytest.mark.parametrize(
    "piece",
    [b"-eyJ", b"a://b:", b"password='", b"-----BEGIN PRIVATE KEY-----", b"sk-ant-", b"xoxb-1-", b"Bearer ", b"a.b-c_", b"\n", b"token ", b"https://", b"AKIA", b"secret_", b"= = = "],
)  # fmt: skip
def test_no_text_makes_the_search_slow(piece):
    """Each pattern is linear: four times the text takes about four times as long, not sixteen."""

    def seconds(count):
        data = piece * (count // len(piece))
        start = time.process_time()
        redact_file("a.yaml", data)
        return time.process_time() - start

    small = max(min(seconds(20_000) for _ in range(3)), 0.002)
    assert seconds(80_000) < 10 * small


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tidegate.toml", 'token = "hunter2"\nserver = "http://h"\n'),
        ("a/tidegate.toml", "  token='hunter2'\n"),
        ("pyproject.toml", '[tool.tidegate]\ntoken = "hunter2"\n'),
        ("train.py", 'os.environ["TIDEGATE_TOKEN"] = "hunter2"\n'),
        ("train.py", "env = {'MLFLOW_TRACKING_TOKEN': 'hunter2'}\n"),
        ("train.py", 'os.environ.setdefault("TIDEGATE_TOKEN", "hunter2")\n'),
        ("job.sh", "export TIDEGATE_TOKEN=hunter2\n"),
        ("Dockerfile", "ENV MLFLOW_TRACKING_TOKEN=hunter2"),
    ],
)
def test_the_server_s_own_token_is_taken_out_however_simple_it_is(path, text):
    found = redact_file(path, text.encode())
    assert b"hunter2" not in found.data
    assert [finding.kind for finding in found.findings] == ["server-token"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", '[tool.other]\ntoken = "plain"\n'),
        ("train.py", 'token = os.environ["TIDEGATE_TOKEN"]\nTIDEGATE_TOKEN = read_token()\n'),
        ("ci.yml", "TIDEGATE_TOKEN: ${{ secrets.TIDEGATE_TOKEN }}\n"),
        ("README.md", "set `TIDEGATE_TOKEN`, or MLFLOW_TRACKING_TOKEN for MLflow clients\n"),
    ],
)
def test_who_only_names_the_token_keeps_the_text(path, text):
    assert redact_file(path, text.encode()).data == text.encode()

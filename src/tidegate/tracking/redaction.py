"""Secrets taken out of what a run records: known tokens, passwords in URLs, assignments to secret names, whole files.

SOURCE of the patterns: the formats that the issuers document (AWS access key ids, GitHub, GitLab, Slack, Stripe, Google,
npm, PyPI, OpenAI, Anthropic, Hugging Face tokens; RFC 7468 for private keys; RFC 7519 for JWT; RFC 3986 for userinfo), the
choice of rules and the entropy bound of 3.5 bits as in the rule list of gitleaks (MIT). detect-secrets was looked at and
not taken: its last release is of May 2024, it works on files and a global configuration, and it brings ``requests``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

_LONGEST_LINE = 2000
"""In longer lines (minified files, embedded data) only tokens that cannot be anything else are looked for."""


class Finding(NamedTuple):
    """A secret that was taken out: its line (from 1) and its kind, never its value."""

    line: int
    kind: str


class Redacted(NamedTuple):
    """Bytes without secrets, and what was taken out of them."""

    data: bytes
    findings: list[Finding]


class _Rule(NamedTuple):
    kind: str
    words: tuple[bytes, ...]
    """At least one of them is in every match: nearly all files are done after a plain search for these."""
    pattern: re.Pattern[bytes]
    """The group of it that has a name, or all of it, is the secret."""


def _rule(kind: str, words: str, pattern: str) -> _Rule:
    return _Rule(kind, tuple(word.encode() for word in words.split()), re.compile(pattern.encode()))


_TOKENS = [
    _rule("aws-access-key-id", "AKIA ASIA ABIA ACCA", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    _rule(
        "aws-secret-key",
        "aws AWS SecretAccessKey",
        r"(?i:aws_?(?:secret)?_?(?:access)?_?key|secretaccesskey)[\"'\\]{0,3}\s*[=:]\s*[\"'\\]{0,3}(?P<s>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _rule("google-api-key", "AIza", r"\bAIza[\w-]{35}(?![\w-])"),
    _rule("google-oauth", "GOCSPX- ya29.", r"(?<![\w-])(?:GOCSPX-[\w-]{28}|ya29\.[\w-]{30,})"),
    _rule("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{50,255})"),
    _rule("gitlab-token", "glpat- gldt- glrt- glptt- glcbt- glsoat-", r"(?<![\w-])gl(?:pat|dt|rt|ptt|cbt|soat)-[\w.-]{20,}"),
    _rule("slack-token", "xox xapp-", r"(?<![\w-])(?:xox[abeoprs]-[\w-]{10,}|xapp-\d-[\w-]{20,})"),
    _rule("slack-webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[\w/+-]{20,})"),
    _rule("stripe-key", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", r"\b(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})"),
    _rule("anthropic-key", "sk-ant-", r"(?<![\w-])sk-ant-[\w-]{20,}"),
    _rule("openai-key", "sk-", r"(?<![\w-])sk-(?:proj-|svcacct-|admin-)[\w-]{20,}|(?<![\w-])sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{32,}\b"),
    _rule("huggingface-token", "hf_", r"\bhf_[A-Za-z]{30,}\b"),
    _rule("pypi-token", "pypi-", r"(?<![\w-])pypi-AgE[\w-]{50,}"),
    _rule("npm-token", "npm_ _authToken", r"\bnpm_[A-Za-z0-9]{36}\b|_authToken\s*=\s*(?P<s>[\w.-]{16,})"),
    _rule("azure-key", "AccountKey SharedAccessKey", r"(?:AccountKey|SharedAccessKey)=(?P<s>[A-Za-z0-9+/]{40,}={0,2})"),
    _rule("jwt", "eyJ", r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _rule("url-password", "://", r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/:@\"'<>{}$]{0,100}:(?P<s>[^\s/:@\"'<>{}$%*][^\s/@\"'<>]{1,200})@(?=[\w\[])"),
    _rule("url-token", "://", r"\bhttps?://(?P<s>[A-Za-z0-9_.-]{20,200})@(?=[\w\[])"),
    _rule(
        "server-token",
        "TIDEGATE_TOKEN MLFLOW_TRACKING_TOKEN",
        r"\b(?:TIDEGATE_TOKEN|MLFLOW_TRACKING_TOKEN)[\"'\]]{0,2}\s{0,5}[=:,]\s{0,5}"
        r"(?:\"(?P<s>[^\"$<{\r\n]{4,400})\"|'(?P<t>[^'$<{\r\n]{4,400})'|(?P<u>[^\s\"'$<>{}()\[\].,]{4,400})(?=\s|$))",
    ),
    _rule("bearer-token", "earer", r"\b[Bb]earer\s+(?P<s>(?=[\w.~+/-]*\d)[\w.~+/-]{20,}=*)"),
]  # fmt: skip

_OWN_TOKEN = re.compile(rb"(?m)^[ \t]*[\"']?token[\"']?[ \t]*=[ \t]*(?P<q>[\"']{1,3})(?P<s>[^\"'\r\n]+)(?P=q)")
"""Our own setting, however short and simple it is."""

_KEY_BEGIN = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(rb"[A-Za-z0-9+/=\s\\\"',:.#-]*")
_KEY_LINE = re.compile(rb"[A-Za-z0-9+/]{40}")
_LONGEST_KEY = 20_000

_PASSWORD = rb"pass(?:word|wd|phrase)|pwd"
_KEY = rb"secret|token|api_?-?key|access_?-?key|auth_?-?key|private_?-?key|secret_?-?key|signing_?-?key|encryption_?-?key|credentials?"
_NAME = (
    rb"(?i:(?P<name>[\w.-]{0,60}?(?:(?P<password>"
    + _PASSWORD
    + rb")|(?:"
    + _KEY
    + rb"))(?:_(?:value|prod|dev|live|test|b64|base64))?))"
)
_QUOTED = re.compile(
    rb"(?<![\w.-])"
    + _NAME
    + rb"[\"'\\]{0,3}\]?\s{0,5}(?:=>|:=|[=:])\s{0,5}[bruf]{0,2}\\?(?P<q>[\"'])(?P<s>[^\"'\\\r\n]{4,400})(?P=q)?"
)
_BARE = re.compile(rb"(?m)^[ \t-]*(?:export[ \t]+|set[ \t]+|ENV[ \t]+|ARG[ \t]+)?" + _NAME + rb"[ \t]*[=:][ \t]*(?P<s>[^\s\"'#$<{(\[][^\s\"']{3,400})[ \t]*\r?$")  # fmt: skip
_ASSIGNED = (b"pass", b"pwd", b"secret", b"token", b"key", b"credential")
_BARE_FILES = ("*.env", "*.ini", "*.cfg", "*.conf", "*.config", "*.properties", "*.y*ml", "*.sh", "*.bash", "*.zsh", "*.txt", "*.toml", "Dockerfile*", "*.envrc")  # fmt: skip

_PLACEHOLDER = re.compile(
    rb"(?i)^(?:[x*._-]+|none|null|nil|true|false|undefined|pass(?:word|wd|phrase)?|secret|token|key|api_?key|changeme|change[_-]me|"
    rb"your.*|my[_-].*|example.*|sample.*|dummy.*|fake.*|todo.*|test(?:ing)?|<.*>|\$.*|\{.*\}|%.*|.*\{\{.*|.*\$\{.*|os\.environ.*|"
    rb"(?:str|bytes|int|float|bool|any|optional\b.*)|redacted.*|.*removed by tidegate.*)$"
)
_LOCKS = ("*.lock", "*lock.json", "*lock.y*ml", "pylock*.toml", "requirements*.txt", "go.sum", "*.min.js", "*.min.css", "*.map", "*.svg", "*.csv", "*.tsv")  # fmt: skip
"""Full of hashes and long words, and nobody assigns passwords in them."""

_FILES = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".htpasswd", ".pypirc", ".git-credentials", ".dockercfg", ".s3cfg",
    ".boto", "credentials.json", "credentials.db", "client_secret*.json", "service[_-]account*.json", "application_default_credentials.json",
    "kubeconfig", "secrets.toml", "secrets.y*ml", "secrets.json", "*.tfstate", "*.tfvars", "kaggle.json",
)  # fmt: skip
_FILES_IN = ("*.aws/credentials", "*.aws/config", "*.docker/config.json", "*.kube/config", "*.streamlit/secrets.toml")
_NO_SECRETS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.pub.pem")

WHOLE_FILE = b"removed by tidegate: files of this name hold secrets\n"


def is_secret_file(path: str) -> bool:
    """Whether everything in a file of this name is a secret: ``.env``, ``*.pem``, ``id_rsa``, ``credentials.json`` ..."""
    name = path.rpartition("/")[2].lower()
    if any(fnmatchcase(name, pattern) for pattern in _NO_SECRETS):
        return False
    return any(fnmatchcase(name, pattern) for pattern in _FILES) or any(
        fnmatchcase(path.lower(), pattern) for pattern in _FILES_IN
    )


def redact_file(path: str, data: bytes) -> Redacted:
    """A file's bytes without secrets. Other bytes, and so the number of lines, stay as they are.

    In a binary file only tokens are looked for, and are overwritten in place so that the file keeps its size.
    """
    if is_secret_file(path) and data:
        return Redacted(WHOLE_FILE, [] if data == WHOLE_FILE else [Finding(1, "secret file")])
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return _redact_utf16(path, data)
    if b"\0" in data[:8000]:
        return _without(data, _tokens(data), same_size=True)
    spans = _tokens(data)
    name = path.rpartition("/")[2]
    if name == "tidegate.toml" or (name == "pyproject.toml" and b"[tool.tidegate]" in data):
        spans += [(*match.span("s"), "server-token") for match in _OWN_TOKEN.finditer(data)]
    if not any(fnmatchcase(name.lower(), pattern) for pattern in _LOCKS):
        spans += _assignments(data, bare=_matches(name, _BARE_FILES) or "." not in name)
    return _without(data, spans)


def redact_text(text: str) -> str:
    """A short text (a URL, a value) without tokens and passwords."""
    data = text.encode("utf-8", "surrogateescape")
    return _without(data, _tokens(data)).data.decode("utf-8", "surrogateescape")


def redact_arguments(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """A command line without secrets (``--password x``, ``--api-key=x``, tokens, URLs), and what was taken out."""
    kept: list[str] = []
    taken: list[str] = []
    named = False
    for number, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if named and not argument.startswith("-"):
            shown = "[removed]"
        elif equals and value and is_secret_name(option):
            shown = f"{option}=[removed]"
        else:
            shown = redact_text(argument)
        named = argument.startswith("-") and not equals and is_secret_name(argument)
        if shown != argument:
            taken.append(f"command line, argument {number}")
        kept.append(shown)
    return kept, taken


def is_secret_name(name: str) -> bool:
    """Whether a name promises a secret: ``--db-password``, ``API_KEY``; not ``tokenizer`` or ``max_tokens``."""
    return re.fullmatch(_NAME, name.lstrip("-").encode("utf-8", "surrogateescape")) is not None


def entropy(data: bytes) -> float:
    """Shannon's entropy of the bytes, in bits per byte."""
    return -sum(count / len(data) * math.log2(count / len(data)) for count in Counter(data).values())


def _redact_utf16(path: str, data: bytes) -> Redacted:
    try:
        text = data.decode("utf-16")
    except UnicodeDecodeError:
        return Redacted(data, [])
    found = redact_file(path, text.encode())
    return Redacted(found.data.decode().encode("utf-16"), found.findings) if found.findings else Redacted(data, [])


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_Span = tuple[int, int, str]


def _private_keys(data: bytes) -> list[_Span]:
    """What stands between a key's first line and its last; in a file that was cut off, as far as it looks like a key."""
    spans: list[_Span] = []
    for match in _KEY_BEGIN.finditer(data) if b"PRIVATE KEY" in data else ():
        body = _KEY_BODY.match(data, match.end(), match.end() + _LONGEST_KEY)
        end = data.find(b"-----END", match.end(), body.end() + 1) if body else -1
        end = end if end >= 0 else body.end() if body else match.end()
        if _KEY_LINE.search(data, match.end(), end):  # code that only names the first line has none
            spans.append((match.end(), end, "private-key"))
    return spans


def _tokens(data: bytes) -> list[_Span]:
    spans = _private_keys(data)
    for rule in _TOKENS:
        if any(word in data for word in rule.words):
            for match in rule.pattern.finditer(data):
                group = next((name for name in rule.pattern.groupindex if match[name] is not None), 0)
                start, end = match.span(group)
                if not (rule.kind.startswith("url-") and _PLACEHOLDER.match(data[start:end])):
                    spans.append((start, end, rule.kind))
    return spans


def _assignments(data: bytes, *, bare: bool) -> list[_Span]:
    lowered = data.lower()
    if not any(word in lowered for word in _ASSIGNED):
        return []
    spans: list[_Span] = []
    for at, line in _candidate_lines(data, lowered):
        for pattern in (_QUOTED, _BARE) if bare else (_QUOTED,):
            for match in pattern.finditer(line):
                if _is_secret_value(match, quoted=pattern is _QUOTED):
                    kind = "password" if match["password"] is not None else "secret value"
                    spans.append((at + match.start("s"), at + match.end("s"), kind))
    return spans


def _candidate_lines(data: bytes, lowered: bytes) -> Iterable[tuple[int, bytes]]:
    """(position, line) of the lines that hold one of the words, each once; very long lines are passed over."""
    starts: set[int] = set()
    for word in _ASSIGNED:
        at = lowered.find(word)
        while at >= 0:
            start = lowered.rfind(b"\n", 0, at) + 1
            end = lowered.find(b"\n", at)
            end = len(lowered) if end < 0 else end
            if start not in starts and end - start <= _LONGEST_LINE:
                starts.add(start)
                yield start, data[start:end]
            at = lowered.find(word, end)


def _is_secret_value(found: re.Match[bytes], *, quoted: bool) -> bool:
    value, name = found["s"], found["name"].lower()
    named_like_it = bool(_letters(value)) and _letters(name).endswith(_letters(value))
    if _PLACEHOLDER.match(value) or b"://" in value or b"(?" in value or named_like_it:
        return False
    if found["password"] is not None:
        is_folder = name.endswith(b"pwd") and value.startswith((b"/", b"."))
        is_expression = not quoted and re.fullmatch(rb"[\w.]+\(.*\)?,?|[\w]+\.[\w.]+,?", value)
        return not is_folder and not is_expression
    if name.endswith((b"page_token", b"pagetoken", b"next_token", b"nexttoken")):
        return False
    return len(value) >= 16 and re.search(rb"\d", value) is not None and b" " not in value and entropy(value) >= 3.5


def _letters(text: bytes) -> bytes:
    return re.sub(rb"[^a-z0-9]", b"", text.lower())


def _without(data: bytes, spans: list[_Span], *, same_size: bool = False) -> Redacted:
    findings: list[Finding] = []
    parts: list[bytes] = []
    at = line = 0
    for start, end, kind in sorted(spans):
        begin = max(start, at)
        if begin >= end:
            continue  # inside one that was taken out already
        line += data.count(b"\n", at, begin)
        findings.append(Finding(line + 1, kind))
        breaks = data.count(b"\n", begin, end)
        mark = b"x" * (end - begin) if same_size else f"[{kind} removed by tidegate]".encode() + b"\n" * breaks
        parts += [data[at:begin], mark]
        line += breaks
        at = end
    return Redacted(b"".join([*parts, data[at:]]), findings) if findings else Redacted(data, [])

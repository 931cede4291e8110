"""The source of functions and classes as it counts for a fingerprint: without comments, docstrings and layout.

A function is looked up in its module's file and used only if that file still compiles to the very code that is loaded;
otherwise (a file edited since it was imported, a notebook, ``exec``, a lambda) the loaded bytecode is hashed instead. So
a fingerprint never describes code that did not run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, TypeAlias

Chain: TypeAlias = tuple[str, ...]
"""A dotted name as it stands in the source: ``("np", "linalg", "norm")``."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef)
_OWN_DECORATORS = {"step", "pipeline"}


@dataclass(frozen=True, slots=True)
class Import:
    """An import inside a function. ``name`` is empty for ``import module``; ``level`` counts the leading dots."""

    module: str
    name: str
    alias: str
    level: int


@dataclass(frozen=True, slots=True)
class Definition:
    """What the source of one function or class says: its digest and the names that it needs from outside."""

    digest: str
    chains: tuple[Chain, ...]
    """Names used when it runs. For a class: when its body ran."""
    outer_chains: tuple[Chain, ...] = ()
    """Names used where it is defined: decorators."""
    annotation_chains: tuple[Chain, ...] = ()
    """Names in the annotations of arguments and result: they do not run, but tell which packages a function works with."""
    imports: tuple[Import, ...] = ()
    exact: bool = True
    """False if the chains were guessed from bytecode: every name that might be a global or an attribute, one by one."""


@dataclass(slots=True)
class _File:
    stamp: tuple[int, int]
    nodes: dict[tuple[str, int], ast.AST] = field(default_factory=dict[tuple[str, int], ast.AST])
    classes: dict[str, ast.ClassDef] = field(default_factory=dict[str, ast.ClassDef])
    codes: dict[tuple[str, int], CodeType] = field(default_factory=dict[tuple[str, int], CodeType])
    found: dict[str, Definition] = field(default_factory=dict[str, Definition])


_files: dict[str, _File] = {}


def definition_of_function(code: CodeType) -> Definition:
    """The definition of the function with this code: from its source, or from the code itself."""
    key = (code.co_qualname, code.co_firstlineno)
    file = _file(code.co_filename)
    if file and file.codes.get(key) != code and file.stamp != _stamp(code.co_filename):
        file = _file(code.co_filename, again=True)  # edited and imported again
    if file is None or file.codes.get(key) != code or key not in file.nodes:
        return _from_bytecode(code)
    name = f"{code.co_qualname}:{code.co_firstlineno}"
    if name not in file.found:
        node = file.nodes[key]
        imports = tuple(_imports(node))
        outside = {each.alias for each in imports}.union(*(each.co_names for each in _all_codes(code)))
        file.found[name] = Definition(
            digest=_digest(node),
            chains=tuple(chain for chain in dict.fromkeys(_chains(_inside(node))) if chain[0] in outside),
            outer_chains=tuple(dict.fromkeys(_chains(_decorators(node)))),
            annotation_chains=tuple(dict.fromkeys(_chains(_signature_annotations(node), annotations=True))),
            imports=imports,
        )
    return file.found[name]


def definition_of_class(filename: str, qualname: str) -> Definition | None:
    """The definition of a class without its methods, which count by themselves; None if there is no source for it."""
    file = _file(filename)
    node = file.classes.get(qualname) if file else None
    if file is None or node is None:
        return None
    if qualname not in file.found:
        parts = [
            *node.bases,
            *node.keywords,
            *node.decorator_list,
            *(child for child in node.body if not isinstance(child, _FUNCTIONS)),
        ]
        file.found[qualname] = Definition(digest=_digest(node), chains=tuple(dict.fromkeys(_chains(parts, annotations=True))))
    return file.found[qualname]


def _stamp(filename: str) -> tuple[int, int]:
    try:
        state = Path(filename).stat()
    except OSError:
        return (0, 0)
    return (state.st_mtime_ns, state.st_size)


def _file(filename: str, *, again: bool = False) -> _File | None:
    if filename.startswith("<"):
        return None
    if again or filename not in _files:
        _files[filename] = _read(filename)
    return _files[filename]


def _read(filename: str) -> _File:
    file = _File(_stamp(filename))
    try:
        tree = ast.parse(Path(filename).read_bytes())
        _index_codes(compile(tree, filename, "exec", dont_inherit=True), file)
    except (OSError, SyntaxError, ValueError):
        return file
    _index_nodes(tree, "", file)
    return file


def _index_codes(code: CodeType, file: _File) -> None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            file.codes[constant.co_qualname, constant.co_firstlineno] = constant
            _index_codes(constant, file)


def _index_nodes(node: ast.AST, prefix: str, file: _File) -> None:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            _index_nodes(child, prefix, file)
            continue
        qualname = prefix + child.name
        if isinstance(child, ast.ClassDef):
            file.classes[qualname] = child
            _index_nodes(child, f"{qualname}.", file)
        else:
            line = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            file.nodes[qualname, line] = child
            _index_nodes(child, f"{qualname}.<locals>.", file)


def _decorators(node: ast.AST) -> list[ast.expr]:
    """The decorators that are not ours: ``@step`` is metadata."""
    return [decorator for decorator in getattr(node, "decorator_list", []) if _last_name(decorator) not in _OWN_DECORATORS]


def _last_name(node: ast.expr) -> str:
    target = node.func if isinstance(node, ast.Call) else node
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def _digest(node: ast.AST) -> str:
    parts: list[str] = []
    _write(node, parts, top=True)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _write(node: Any, parts: list[str], *, top: bool = False) -> None:
    """The tree as text, without positions and docstrings. Of a class at the top only what is not a method."""
    if isinstance(node, list):
        parts.append("[")
        for item in node:
            _write(item, parts)
        parts.append("]")
    elif isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name == "body" and isinstance(node, _SCOPES):
                value = _without_docstring(value)
                value = (
                    [child for child in value if not isinstance(child, _FUNCTIONS)]
                    if top and isinstance(node, ast.ClassDef)
                    else value
                )
            elif name == "decorator_list":
                value = _decorators(node)
            elif name in {"type_comment", "kind"}:
                continue
            _write(value, parts)
        parts.append(";")
    else:
        parts.append(f"{type(node).__name__}={node!r}")


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _inside(node: ast.AST) -> list[ast.AST]:
    """What runs when a function is called. Its own defaults are values and count as such."""
    return list(getattr(node, "body", []))


def _chains(nodes: Iterable[ast.AST], *, annotations: bool = False) -> Iterator[Chain]:
    for node in nodes:
        chain = _dotted(node)
        if chain:
            yield chain
            continue
        skipped = () if annotations else _annotations(node)
        yield from _chains((child for child in ast.iter_child_nodes(node) if child not in skipped), annotations=annotations)


def _signature_annotations(node: ast.AST) -> list[ast.AST]:
    annotations = (
        [child.annotation for child in ast.walk(node.args) if isinstance(child, ast.arg)] if isinstance(node, _FUNCTIONS) else []
    )
    return [each for each in [*annotations, getattr(node, "returns", None)] if each is not None]


def _annotations(node: ast.AST) -> list[Any]:
    if isinstance(node, ast.AnnAssign | ast.arg):
        return [node.annotation]
    return [node.returns] if isinstance(node, _FUNCTIONS) else []


def _dotted(node: ast.AST) -> Chain:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ()
    return (node.id, *reversed(names)) if isinstance(node.ctx, ast.Load) else ()


def _imports(node: ast.AST) -> Iterator[Import]:
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(name.name, "", name.asname or name.name.partition(".")[0], 0)
        elif isinstance(child, ast.ImportFrom):
            for name in child.names:
                yield Import(child.module or "", name.name, name.asname or name.name, child.level)


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_codes(constant)


@functools.lru_cache(maxsize=4096)
def _from_bytecode(code: CodeType) -> Definition:
    names = dict.fromkeys(name for each in _all_codes(code) for name in each.co_names)
    return Definition(
        digest=_bytecode_digest(code),
        chains=(*((name,) for name in names), *((name, other) for name in names for other in names if name != other)),
        exact=False,
    )


def _bytecode_digest(code: CodeType) -> str:
    constants = [_bytecode_digest(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    layout = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    text = repr((code.co_code.hex(), code.co_exceptiontable.hex(), layout, names, constants))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _constant(value: Any) -> str:
    """Constants of bytecode are simple values; a frozenset among them has no order."""
    return f"frozenset({sorted(map(_constant, value))})" if isinstance(value, frozenset) else repr(value)

# SPDX-License-Identifier: BSD-3-Clause
"""What a piece of code imports, read off without running it.

Why: what travels must bring along what it imports, and an import inside a function shows only when it runs.

May not know: files, sys.modules: text and code in, names out. Guarantees: absolute dotted names, `import a.b` as
"a.b", `from a import b` as "a" and "a.b" (b may be a module); what only a type checker imports is left out, and so are
names that are made at run time (`import_module(f"lab.{kind}")`): nobody can read those.
"""
from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from types import CodeType


def imports_of_source(source: bytes, package: str) -> frozenset[str]:
    """What a module imports; `package` is what its relative imports start from. Nothing if it is not Python.

    >>> sorted(imports_of_source(b"import os.path\\ndef f(): from .near import x", "lab"))
    ['lab.near', 'lab.near.x', 'os.path']
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    return frozenset(_walk(tree.body, package))


def imports_of_code(code: CodeType, package: str) -> frozenset[str]:
    """As `imports_of_source`, for a function's code.

    >>> sorted(imports_of_code((lambda: __import__("os")).__code__, "lab"))
    []
    """
    return frozenset(_walk_code(code, package))


def _walk(body: list[ast.stmt], package: str) -> Iterator[str]:
    # Statements only: an expression cannot import, and trees are mostly expressions.
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node.module or "", node.level, [alias.name for alias in node.names], package)
        elif isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            yield from _walk(node.orelse, package)
        else:
            for part in ("body", "orelse", "finalbody"):
                inner = getattr(node, part, None)
                if isinstance(inner, list):
                    yield from _walk(inner, package)
            for part in ("handlers", "cases"):
                for branch in getattr(node, part, ()):
                    yield from _walk(branch.body, package)


def _walk_code(code: CodeType, package: str) -> Iterator[str]:
    # One look at the bytes spares nearly every function the slow walk over its instructions.
    if dis.opmap["IMPORT_NAME"] in code.co_code[::2]:
        before: list[object] = []
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                level, names = before[-2:]
                yield from _from(
                    instruction.argval, level if isinstance(level, int) else 0,
                    list(names) if isinstance(names, tuple) else [], package)
            before.append(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk_code(constant, package)


def _from(module: str, level: int, names: list[str], package: str) -> Iterator[str]:
    if level:
        parents = package.split(".")
        if not package or level > len(parents):
            return
        base = ".".join(parents[: len(parents) - level + 1])
        module = f"{base}.{module}" if module else base
    yield module
    for name in names:
        if name != "*":
            yield f"{module}.{name}"


def _is_for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")

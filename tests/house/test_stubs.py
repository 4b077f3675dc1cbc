# SPDX-License-Identifier: BSD-3-Clause
"""The stub of a compiled module names what the module has, and nothing else.

Why: mypy and every reader believe the stub. Types cannot be compared with compiled code; names and parameters can.
"""
import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from house import ROOT, compiled_modules

MODULES = compiled_modules()


def stub_of(module: str) -> Path:
    return ROOT / "src" / Path(*module.split(".")).with_suffix(".pyi")


def own_names(module: ModuleType) -> set[str]:
    """Functions and classes that the module itself defines. Constants cannot be told from imported ones."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names that a stub, or a class in it, declares."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def parameters(node: ast.FunctionDef) -> list[str]:
    args = node.args
    return [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs) if a.arg not in ("self", "cls")]


def check_parameters(where: str, node: ast.FunctionDef, function: object) -> None:
    try:
        found = inspect.signature(function)     # type: ignore[arg-type]  # that it may not be callable is caught
    except (TypeError, ValueError):
        return                                  # methods of compiled classes tell no signature
    plain = [p.name for p in found.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    assert [p for p in plain if p not in ("self", "cls")] == parameters(node), where


@pytest.mark.parametrize("name", MODULES)
def test_stub_and_module_agree(name: str) -> None:
    module = importlib.import_module(name)
    path = stub_of(name)
    if not path.exists():
        return      # nothing in Python imports it, or mypy would have missed the stub
    stub = declared(ast.parse(path.read_text(encoding="utf-8")).body)
    assert own_names(module) <= set(stub), "the stub lacks them"
    assert {x for x in stub if not x.startswith("_")} <= set(vars(module)), "the module lacks them"
    for member, node in stub.items():
        if isinstance(node, ast.FunctionDef):
            check_parameters(f"{name}.{member}", node, getattr(module, member))
        elif isinstance(node, ast.ClassDef) and hasattr(module, member):
            check_class(f"{name}.{member}", node, getattr(module, member))


def check_class(where: str, node: ast.ClassDef, cls: type) -> None:
    stub = {x: n for x, n in declared(node.body).items() if not x.startswith("_")}
    missing = [x for x in stub if not hasattr(cls, x) and x not in getattr(cls, "__annotations__", {})]
    assert not missing, f"{where}: the class lacks {missing}"
    unknown = [x for x in vars(cls) if not x.startswith("_") and x not in stub]
    assert not unknown, f"{where}: the stub lacks {unknown}"
    for member, inner in stub.items():
        if isinstance(inner, ast.FunctionDef) and not inner.decorator_list:
            check_parameters(f"{where}.{member}", inner, getattr(cls, member))


def test_no_stub_without_a_module() -> None:
    stubs = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in (ROOT / "src").rglob("*.pyi")}
    assert stubs <= set(MODULES)

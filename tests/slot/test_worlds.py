# SPDX-License-Identifier: BSD-3-Clause
"""Modules that came from callers: found, told apart, and put out of each other's way. With a `sys.modules` of its own
where that does, with the interpreter's where `import` must see it."""
import importlib
import os
import py_compile
import sys
import types
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from covey.codec.trunk import Trunk
from covey.slot.finder import Finder
from covey.slot.worlds import Worlds


def lab(name: str = "lab_w", **files: str) -> Trunk:
    content = {f"{path}.py": text.encode() for path, text in files.items()}
    return Trunk(name, f"/nowhere/{name}.py", content)


def luggage(*trunks: Trunk) -> dict[str, Trunk]:
    return {trunk.name: trunk for trunk in trunks}


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    before, finders = set(sys.modules), sys.meta_path.copy()
    yield Worlds(sys.modules, sys.meta_path)
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_keeps_its_identity_through_other_worlds(worlds: Worlds) -> None:
    one, two = luggage(lab(lab_w="x = 1")), luggage(lab(lab_w="x = 2"))
    worlds.wear(one)
    first = importlib.import_module("lab_w")
    worlds.wear(two)
    assert importlib.import_module("lab_w").x == 2
    worlds.wear(one)
    assert importlib.import_module("lab_w") is first


def test_what_agrees_stands_together(worlds: Worlds) -> None:
    worlds.wear(luggage(lab(lab_w="x = 1")))
    first = importlib.import_module("lab_w")
    worlds.wear(luggage(lab("lab_v", lab_v="import lab_w")))
    assert importlib.import_module("lab_v").lab_w is first
    assert sorted(worlds.worn) == ["lab_v", "lab_w"]


def test_who_imported_the_old_one_is_imported_anew(worlds: Worlds) -> None:
    user = lab("lab_v", lab_v="from lab_w import x")
    worlds.wear(luggage(lab(lab_w="x = 1"), user))
    assert importlib.import_module("lab_v").x == 1
    worlds.wear(luggage(lab(lab_w="x = 2"), user))
    assert importlib.import_module("lab_v").x == 2


def test_worlds_are_forgotten_in_the_end(worlds: Worlds) -> None:
    first = luggage(lab(lab_w="x = -1"))
    worlds.wear(first)
    module = importlib.import_module("lab_w")
    for number in range(20):
        worlds.wear(luggage(lab(lab_w=f"x = {number}")))
        assert importlib.import_module("lab_w").x == number
    worlds.wear(first)
    assert importlib.import_module("lab_w") is not module
    assert importlib.import_module("lab_w").x == -1


def test_the_files_of_a_known_trunk_are_kept_once(worlds: Worlds) -> None:
    trunk = lab(lab_w="x = 1")
    worlds.wear(luggage(trunk))
    assert worlds.find(lab(lab_w="x = 1")) is trunk
    assert worlds.find(lab(lab_w="x = 2")) is None


def test_a_namespace_is_made_where_there_is_none(worlds: Worlds) -> None:
    one = luggage(Trunk("lab_ns.near", "/nowhere/lab_ns/near.py", {"near.py": b"x = 1"}))
    two = luggage(Trunk("lab_ns.near", "/nowhere/lab_ns/near.py", {"near.py": b"x = 2"}))
    for wanted, value in ((one, 1), (two, 2), (one, 1)):
        worlds.wear(wanted)
        space: dict[str, object] = {}
        exec("from lab_ns import near", space)
        assert space["near"].x == value  # type: ignore[attr-defined]


def test_somebody_elses_module_gives_way() -> None:
    other = types.ModuleType("lab_w")
    modules = {"lab_w": other, "lab_w.part": other, "lab_ww": other}
    Worlds(modules, []).wear(luggage(lab(lab_w="x = 1")))
    assert list(modules) == ["lab_ww"]


def test_what_is_here_is_used_as_long_as_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_w.py").write_text("x = 1")
    finders: list[object] = [PathFinder]
    worlds = Worlds({}, finders)
    finder = finders[0]
    assert isinstance(finder, Finder)
    worlds.wear(luggage(lab(lab_w="x = 1")))
    assert finder.find_spec("lab_w") is None
    worlds.wear(luggage(lab(lab_w="x = 2")))
    assert finder.find_spec("lab_w") is not None


def test_bytecode_of_the_same_second_is_not_believed(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "lab_w.py"
    file.write_text("x = 1")
    py_compile.compile(str(file), doraise=True)
    second = int(file.stat().st_mtime)
    file.write_text("x = 2")
    os.utime(file, (second + 0.9, second + 0.9))
    importlib.invalidate_caches()
    worlds.wear(luggage(lab(lab_w="x = 2")))
    assert importlib.import_module("lab_w").x == 2


def test_source_beats_what_another_python_compiled_and_loses_to_what_this_one_did(worlds: Worlds) -> None:
    here = importlib.machinery.EXTENSION_SUFFIXES[0]
    finder = Finder()
    finder.put(Trunk("lab_w", "/n/lab_w/__init__.py", {"lab_w/a.py": b"", "lab_w/a.cpython-29-other.so": b"",
                                                      "lab_w/b.py": b"", f"lab_w/b{here}": b"",
                                                      "lab_w/c.cpython-29-other.so": b""}))
    specs = [finder.find_spec(f"lab_w.{name}") for name in "ab"]
    assert [os.path.basename(spec.origin or "") for spec in specs if spec] == ["a.py", f"b{here}"]
    with pytest.raises(ImportError, match=r"'lab_w.c' came as c.cpython-29-other.so, which was compiled"):
        finder.find_spec("lab_w.c")


def test_other_lines_under_the_same_path_are_not_shown(worlds: Worlds, tmp_path: Path) -> None:
    import linecache

    file = tmp_path / "lab_w.py"
    file.write_text("theirs = 1\n")
    worlds.wear(luggage(Trunk("lab_w", str(file), {"lab_w.py": b"mine = 1\n"})))
    module = importlib.import_module("lab_w")
    assert module.mine == 1
    linecache.checkcache()
    assert linecache.getline(str(file), 1) == "mine = 1\n"
    del linecache.cache[str(file)]

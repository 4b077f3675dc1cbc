# SPDX-License-Identifier: BSD-3-Clause
"""What is packed for slots that lack the user's modules: which modules, which files, and when again."""
import os
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from covey.codec import trunk as trunks
from covey.codec.functions import FunctionBook, load_function
from covey.codec.imports import imports_of_code, imports_of_source
from covey.codec.luggage import PATIENCE, Luggage
from covey.codec.ownership import find_own
from covey.codec.trunk import Trunk
from covey.errors import ModuleTooLarge

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file below a folder that is on `sys.path`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def packed_names(luggage: Luggage, *references: str) -> list[str]:
    return [packed.trunk.name for packed in luggage.gather(references)]


SOURCES = {
    "import a.b, c": {"a.b", "c"},
    "from a import b as x, c": {"a", "a.b", "a.c"},
    "from a import *": {"a"},
    "from . import b": {"pkg.sub", "pkg.sub.b"},
    "from .. import b": {"pkg", "pkg.b"},
    "from ..near import b": {"pkg.near", "pkg.near.b"},
    "from ... import b": set(),
    "def f():\n  class C:\n    import deep": {"deep"},
    "try:\n  import a\nexcept ImportError:\n  import b\nelse:\n  import c\nfinally:\n  import d": {"a", "b", "c", "d"},
    "match 1:\n  case 1:\n    import a": {"a"},
    "with x:\n  import a": {"a"},
    "if TYPE_CHECKING:\n  import a\nelse:\n  import b": {"b"},
    "if typing.TYPE_CHECKING:\n  import a": set(),
    "this is not Python": set(),
    "x = 1\0": set(),
}


@pytest.mark.parametrize("source", SOURCES)
def test_imports_are_read_off_the_source(source: str) -> None:
    assert imports_of_source(source.encode(), "pkg.sub") == SOURCES[source]


def test_imports_are_read_off_the_code() -> None:
    def f() -> object:
        import json.decoder
        from os import path

        def inner() -> None:
            import colorsys  # noqa: F401

        return json, path, inner

    assert imports_of_code(f.__code__, "") == {"json.decoder", "os", "os.path", "colorsys"}
    relative = compile("from .near import x", "", "exec")
    assert imports_of_code(relative, "pkg") == {"pkg.near", "pkg.near.x"}
    assert imports_of_code(relative, "") == set()


@pytest.mark.parametrize("name", ["os", "os.path", "sys", "json.decoder", "numpy.linalg", "covey.codec", "__main__",
                                  "_blake2", "no_such_module_anywhere", ""])
def test_what_is_not_the_users_own(name: str) -> None:
    assert find_own(name) is None


def test_an_own_package_counts_as_a_whole(write: Write) -> None:
    file = write("lab_a/__init__.py", "")
    assert find_own("lab_a.model.deep") == ("lab_a", str(file))


def test_a_namespace_package_is_no_unit(write: Write) -> None:
    file = write("lab_ns/near.py", "")
    assert find_own("lab_ns.near.f") == ("lab_ns.near", str(file))
    assert find_own("lab_ns") is None


def test_where_packages_are_installed_nothing_is_own(write: Write) -> None:
    write("site-packages/lab_b.py", "")
    write("target/lab_c.py", "")
    write("target/lab_c-1.dist-info/METADATA", "")
    for folder, name in (("site-packages", "lab_b"), ("target", "lab_c")):
        file = str(write(f"{folder}/{name}.py", ""))
        spec = ModuleSpec(name, None, origin=file)
        spec.has_location = True
        assert find_own(name, {}, lambda _, spec=spec: spec) is None  # type: ignore[misc]


def test_an_editable_install_is_the_users_own(write: Write) -> None:
    file = write("checkout/src/lab_d.py", "")
    module = types.ModuleType("lab_d")
    module.__file__ = str(file)
    assert find_own("lab_d", {"lab_d": module}) == ("lab_d", str(file))


def test_a_finder_that_raises_owns_nothing() -> None:
    def find(name: str) -> ModuleSpec | None:
        raise RuntimeError(name)

    assert find_own("lab_e", {}, find) is None


def test_a_package_is_packed_without_what_is_not_code(write: Write, tmp_path: Path) -> None:
    file = write("lab_f/__init__.py", "x = 1")
    for path in ("sub/a.py", "data.csv", ".git/b.py", "__pycache__/c.py", "env/pyvenv.cfg", "env/lib/d.py",
                 "site-packages/e.py"):
        write(f"lab_f/{path}", "")
    (tmp_path / "lab_f" / ".#lock.py").symlink_to("nowhere")
    trunk = trunks.pack("lab_f", str(file), trunks.scan(str(file)))
    assert trunk.files == {"lab_f/__init__.py": b"x = 1", "lab_f/sub/a.py": b""}
    assert trunk.folder == str(tmp_path)


def test_the_digest_is_of_names_and_contents() -> None:
    files = [{"a.py": b"1"}, {"a.py": b"2"}, {"b.py": b"1"}, {"a.py": b"1", "b.py": b""}, {"a.py": b"", "b.py": b"1"}]
    assert len({Trunk("a", "/a.py", content).digest for content in files}) == len(files)


def test_what_own_modules_import_comes_along(write: Write) -> None:
    write("lab_g.py", "import os, numpy\ndef f():\n    from lab_h import x\n")
    write("lab_h/__init__.py", "from . import near")
    write("lab_h/near.py", "import lab_i, lab_g")
    write("lab_i.py", "import no_such_module_anywhere")
    assert packed_names(Luggage(), "lab_g.f") == ["lab_g", "lab_h", "lab_i"]
    assert "lab_g" not in sys.modules


def test_a_changed_file_is_noticed_after_a_while_or_at_once(write: Write) -> None:
    clock = Clock()
    luggage = Luggage(clock=clock)
    write("lab_j.py", "x = 1")
    (before,) = luggage.gather(["lab_j"])
    write("lab_j.py", "x = 22")
    luggage.look()
    assert luggage.gather(["lab_j"]) == (before,)
    clock.now += PATIENCE
    luggage.look()
    (after,) = luggage.gather(["lab_j"])
    assert after.trunk.files == {"lab_j.py": b"x = 22"}
    assert luggage.version == 2
    write("lab_j.py", "x = 333").unlink()
    luggage.look(now=True)
    assert luggage.gather(["lab_j"]) == (after,)


def test_a_file_that_was_just_written_may_change_unseen(write: Write) -> None:
    """Two writes within one tick of the file system's clock look the same, so what is young is read again."""
    file = write("lab_p.py", "x = 1")
    moment = file.stat().st_mtime_ns
    wall = Clock()
    wall.now = moment / 1e9
    luggage = Luggage(wall=wall)
    luggage.gather(["lab_p"])
    for text, now, version in (("x = 2", 0, 2), ("x = 2", 60, 2), ("x = 3", 60, 2)):
        file.write_text(text)
        os.utime(file, ns=(moment, moment))
        wall.now = moment / 1e9 + now
        luggage.look(now=True)
        luggage.gather(["lab_p"])
        assert luggage.version == version


def test_the_limit_names_the_largest_file(write: Write) -> None:
    write("lab_k/__init__.py", "")
    path = write("lab_k/table.py", "x" * 101)
    with pytest.raises(ModuleTooLarge) as caught:
        Luggage(100).gather(["lab_k"])
    assert str(path) in str(caught.value)
    assert "takes 101 bytes, over the limit of 100 bytes; keep data out of it, install it" in str(caught.value)


def tags_of(body: bytes | None) -> list[str]:
    found: list[str] = []
    assert body is not None
    try:
        load_function(body, [b""] * 9, lambda tags, blobs: found.extend(tag[0] for tag in tags))
    except ImportError:
        pass                    # of no interest here: nobody has unpacked them
    return found


def test_a_book_that_does_not_ship_reads_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("lab_l.py", "def f(): pass")
    monkeypatch.setattr(trunks, "scan", None)
    import lab_l  # type: ignore[import-not-found]

    sealed = FunctionBook().find(lab_l.f)
    assert tags_of(sealed.body) == []
    assert sealed.packing is None


def test_a_body_brings_its_modules_and_is_widened_for_arguments(write: Write) -> None:
    write("lab_m.py", "def f(): pass")
    write("lab_n.py", "class C: pass")
    import lab_m  # type: ignore[import-not-found]
    import lab_n  # type: ignore[import-not-found]  # noqa: F401

    book = FunctionBook(ship=True)
    sealed = book.find(lab_m.f)
    assert tags_of(sealed.body) == ["lab_m"]
    assert len(sealed.buffers) == 1
    assert book.find(lab_m.f) is sealed
    assert book.equip(sealed, {"os", "builtins", "lab_m"}) is sealed
    wide = book.equip(sealed, {"lab_n"})
    assert tags_of(wide.body) == ["lab_m", "lab_n"]
    assert book.equip(sealed, {"lab_n"}) is wide
    assert book.equip(sealed, {"os"}) is wide
    book.ship = False
    assert tags_of(book.find(lab_m.f).body) == []


def test_an_edit_makes_another_body(write: Write) -> None:
    write("lab_o.py", "def f(): return 1")
    import lab_o  # type: ignore[import-not-found]

    clock = Clock()
    book = FunctionBook(ship=True, clock=clock)
    sealed = book.seal_now(lab_o.f)
    assert book.seal_now(lab_o.f) is sealed
    write("lab_o.py", "def f(): return 22")
    edited = book.seal_now(lab_o.f)
    assert edited is not sealed
    assert book.find(lab_o.f) is edited
    write("lab_o.py", "def f(): return 333")
    assert book.find(lab_o.f) is edited
    clock.now += PATIENCE
    assert book.find(lab_o.f) is not edited


def test_an_edit_counts_for_a_function_that_is_sealed_first_after_it(write: Write) -> None:
    """Whatever was sealed before it, by `find` or for a map, had the module packed as it was then."""
    write("lab_p.py", "def f(): return 1\ndef g(): return 1\ndef h(): return 1\n")
    import lab_p  # type: ignore[import-not-found]

    clock = Clock()
    book = FunctionBook(ship=True, clock=clock)
    before = book.find(lab_p.f).buffers
    write("lab_p.py", "def f(): return 22\ndef g(): return 22\ndef h(): return 22\n")
    clock.now += PATIENCE
    edited = book.find(lab_p.g).buffers
    assert bytes(edited[-1]) != bytes(before[-1])
    book.seal_now(lab_p.f)
    write("lab_p.py", "def f(): return 333\ndef g(): return 333\ndef h(): return 333\n")
    clock.now += PATIENCE
    assert bytes(book.find(lab_p.h).buffers[-1]) != bytes(edited[-1])

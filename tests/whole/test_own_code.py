# SPDX-License-Identifier: BSD-3-Clause
"""The user's own modules are at hand in slots that cannot see the user's folder."""

import importlib
import inspect
import os
import subprocess
import sys
import sysconfig
import traceback

import pytest

import covey
from covey.codec import parcel
from covey.codec.versions import find_distribution
from covey.errors import ModuleMissing, ModuleTooLarge
from foreign_world import Project

MINE = ("lab", "helpers", "utils", "tabnanny", "fakepkg", "broad", "fast")


@pytest.fixture
def project(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project = Project(here, there)
    yield project
    project.close()
    project.forget_modules(*MINE)


def load(name):
    importlib.invalidate_caches()
    return importlib.import_module(name)


def run(project, function, *args):
    return project.client.submit(function, *args).result(30)


def test_a_function_and_what_its_module_imports(project):
    project.write("helpers.py", "FACTOR = 3\n")
    project.write("lab.py", "import helpers\ndef scaled(x): return x * helpers.FACTOR\n")
    lab = load("lab")
    assert run(project, lab.scaled, 2) == 6
    assert list(project.client.map(lab.scaled, range(4))) == [0, 3, 6, 9]


def test_types_after_which_a_call_is_tried_again(project):
    project.write("helpers.py", "class Busy(Exception): pass\n")
    project.write("lab.py", "tries = []\ndef flaky(kinds):\n    tries.append(1)\n"
                  "    if len(tries) < 3:\n        raise kinds[0]('not yet')\n    return len(tries)\n")
    busy = load("helpers").Busy
    assert project.client.options(retries=2, retry_on=busy).submit(load("lab").flaky, [busy]).result(30) == 3


def test_without_shipping_the_module_is_missing(project):
    project.write("lab.py", "def scaled(x): return 3 * x\n")
    project.client.book.ship = False
    lab = load("lab")
    sys.path.remove(str(project.folder))
    with pytest.raises(ModuleMissing, match="the module 'lab' cannot be imported on"):
        run(project, lab.scaled, 2)


POINT = """
class Point:
    def __init__(self, x): self.x = x
    def doubled(self): return Point(2 * self.x)
    def __eq__(self, other): return type(self) is type(other) and self.x == other.x
    __hash__ = None
"""


def test_instances_come_and_go_as_arguments_and_results(project):
    project.write("lab.py", POINT)
    point = load("lab").Point

    def double(thing):
        return thing.doubled()

    assert run(project, double, point(2)) == point(4)
    assert run(project, point(3).doubled) == point(6)
    assert list(project.client.map(double, [point(1), point(2)])) == [point(2), point(4)]
    assert run(project, abs, -1) == 1


def test_arguments_of_a_builtin_bring_their_modules(project):
    project.write("lab.py", POINT)
    project.write("helpers.py", "class Other:\n    size = 7\n")
    assert run(project, type, load("lab").Point(1)) is load("lab").Point
    assert run(project, getattr, load("helpers").Other(), "size") == 7
    assert run(project, getattr, load("lab").Point(5), "x") == 5


def test_a_package_travels_whole(project):
    project.write("lab/__init__.py", "from .model import base\n")
    project.write("lab/model.py", "def base(x):\n    from .deep.inner import add\n    return add(x)\n")
    project.write("lab/deep/inner.py", "from .. import offset\ndef add(x): return x + offset.OFFSET\n")
    project.write("lab/offset.py", "import helpers\nOFFSET = helpers.FACTOR\n")
    project.write("helpers.py", "FACTOR = 3\n")
    assert run(project, load("lab").base, 1) == 4


def test_what_a_function_imports_when_it_runs(project):
    project.write("lab.py", "def f(x):\n    import helpers\n    return x + helpers.FACTOR\n")
    project.write("helpers.py", "FACTOR = 3\n")

    def mine(x):
        from lab import f

        return f(x)

    assert run(project, mine, 1) == 4
    assert "lab" not in sys.modules


def test_part_of_a_namespace_package(project):
    project.write("broad/near/tool.py", "def f(x): return x + 1\n")
    project.write("broad/near/__init__.py", "")
    tool = load("broad.near.tool")
    assert run(project, tool.f, 1) == 2


def test_an_edit_counts_for_the_next_map(project):
    file = project.write("lab.py", "def f(x): return x + 1\n")
    lab = load("lab")
    assert list(project.client.map(lab.f, [1, 2])) == [2, 3]
    file.write_text("def f(x): return x + 5\n")
    assert list(project.client.map(lab.f, [1, 2])) == [6, 7]
    file.write_text("def f(x): return x + 1\n")
    assert list(project.client.map(lab.f, [1, 2])) == [2, 3]


def test_an_edit_of_what_a_module_imports_counts(project):
    file = project.write("helpers.py", "FACTOR = 3\n")
    project.write("lab.py", "from helpers import FACTOR\ndef f(x): return x * FACTOR\n")
    lab = load("lab")
    assert list(project.client.map(lab.f, [1])) == [3]
    file.write_text("FACTOR = 4\n")
    assert list(project.client.map(lab.f, [1])) == [4]


def test_two_clients_with_different_modules_of_one_name(project):
    """Tasks of both take turns in one slot; each sees its own, also in imports when it runs."""
    project.write("lab.py", "def f():\n    import helpers\n    return helpers.FACTOR\n")
    project.write("helpers.py", "FACTOR = 1\nloads = []\n")
    lab = load("lab")
    with covey.Client(project.node.address) as other:
        other.book.ship = True
        first = project.client.book.find(lab.f)
        project.write("helpers.py", "FACTOR = 2\n")
        for _ in range(3):
            assert project.client.post(first, parcel.ARGS, ()).result(30) == 1
            assert other.submit(lab.f).result(30) == 2


@pytest.mark.parametrize("name", ["utils", "tabnanny"])
def test_the_users_own_module_wins_over_one_that_is_there(project, name):
    """Another `utils` on that machine's path; a module of the standard library."""
    project.write("utils.py", "def f(): return 'theirs'\n", there=True)
    project.write(f"{name}.py", "def f(): return 'mine'\n")
    sys.modules.pop(name, None)
    assert run(project, __import__, name).__name__ == name
    assert run(project, load(name).f) == "mine"


def test_the_same_file_there_is_used(project):
    source = "def where(): return __file__\n"
    project.write("lab.py", source)
    project.write("lab.py", source, there=True)
    assert run(project, load("lab").where) == str(project.there / "lab.py")


def test_it_is_a_module_like_others(project):
    path = project.write("lab.py", "def f(x):\n    return 1 / x\n")
    lab = load("lab")
    assert run(project, inspect.getsource, lab.f) == "def f(x):\n    return 1 / x\n"
    with pytest.raises(ZeroDivisionError) as caught:
        run(project, lab.f, 0)
    text = "".join(traceback.format_exception(caught.value))
    assert f'File "{path}", line 2, in f\n    return 1 / x' in text


def test_errors_of_own_classes_come_back_as_themselves(project):
    project.write("lab.py", "class Odd(Exception): pass\ndef f(): raise Odd('no luck')\n")
    lab = load("lab")
    with pytest.raises(lab.Odd, match="no luck"):
        run(project, lab.f)


def test_a_module_that_is_too_large_is_refused_by_name(project, monkeypatch):
    monkeypatch.setenv("COVEY_SHIP_LIMIT", "1000")
    project.write("lab/__init__.py", "def f(): return 1\n")
    project.write("lab/table.py", f"TABLE = {'x' * 2000!r}\n")
    with covey.Client(project.node.address) as client:
        client.book.ship = True
        with pytest.raises(ModuleTooLarge, match=r"the module 'lab', whose largest file is .*lab/table.py, takes 2,0"):
            client.submit(load("lab").f)


def fake_package(folder, version, source):
    (folder / "fakepkg.py").write_text(source)
    info = folder / f"fake_package-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-package\nVersion: {version}\n")
    (info / "top_level.txt").write_text("fakepkg\n")
    (info / "RECORD").write_text("fakepkg.py,,\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    find_distribution.cache_clear()
    yield site
    find_distribution.cache_clear()


def test_a_package_that_is_not_installed_there(project, site):
    fake_package(site, "2.1", "def f(): return 1\n")
    with pytest.raises(ModuleMissing) as caught:
        run(project, load("fakepkg").f)
    host = os.uname().nodename
    assert f"fake-package is not installed on {host}, 2.1 is here; install 2.1 there" in str(caught.value)
    assert caught.value.name == "fakepkg"


def test_a_package_that_an_own_module_imports_is_named(project, site):
    fake_package(site, "2.1", "")
    project.write("lab.py", "def f():\n    import fakepkg\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        run(project, load("lab").f)
    assert "'fakepkg' belongs to fake-package 2.1 here" in "".join(caught.value.__notes__)


def test_a_package_of_another_version(project, site):
    fake_package(site, "2.1", "def f(): return 1\n")
    fake_package(project.there, "1.0", "")
    with pytest.raises(AttributeError) as caught:
        run(project, load("fakepkg").f)
    assert f"fake-package: fake-package 1.0 is on {os.uname().nodename}, 2.1 here" in "".join(caught.value.__notes__)


@pytest.mark.slow
def test_a_compiled_module(project, tmp_path):
    source = tmp_path / "fast.c"
    source.write_text(
        "#include <Python.h>\n"
        "static PyObject* f(PyObject* m, PyObject* x) { return PyNumber_Add(x, x); }\n"
        'static PyMethodDef all[] = {{"f", f, METH_O, 0}, {0}};\n'
        'static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "fast", 0, -1, all};\n'
        "PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&def); }\n"
    )
    target = project.folder / f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    command = ["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(target)]
    subprocess.run(command, check=True, timeout=120)
    assert run(project, load("fast").f, 4) == 8

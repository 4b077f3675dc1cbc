# SPDX-License-Identifier: BSD-3-Clause
"""What holds for every test: a temporary directory of the session's own, marks, and the leak check.

A test is checked against what was held when it began. One that uses a fixture of a wider scope (a flock that a module
shares) is not: the flock may replace a slot meanwhile. Its module is checked as a whole instead.
"""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from figures import Figures
from leaks import Holdings, check_nothing_left

# Machines that run tests are busy: no deadline an example. The seed of a failure is printed.
settings.register_profile("covey", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("covey")


def pytest_configure(config: pytest.Config) -> None:
    # Of the session's own, so that two sessions on one machine do not see each other's leaks; short, because names of
    # ipc sockets are limited to a hundred bytes.
    place = tempfile.mkdtemp(prefix="t", dir="/tmp" if os.path.isdir("/tmp") else None)
    os.environ["TMPDIR"] = tempfile.tempdir = place
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", metavar="FILE", help="only what has a figure, long forms too; a line each in FILE")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a test says what it has measured."""
    path = request.config.getoption("--figures")
    return Figures(Path(path) if path else None)


def _has_gpu() -> bool:
    try:
        return bool(ctypes.CDLL("libcuda.so.1").cuInit(0) == 0)
    except OSError:
        return False


# What the tests marked `gpu` are given back; the others see no GPU, so that they find the same flock on every machine.
SHOWN = os.environ.get("CUDA_VISIBLE_DEVICES")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--figures"):
        others = [item for item in items if "figures" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if "figures" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
    elif "soak" not in config.getoption("markexpr"):
        # Minutes each: only for those who name them.
        long = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_gpu():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="there is no GPU here"))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture
def shown_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPUs of this machine, for a test marked `gpu`."""
    if SHOWN is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", SHOWN)


# Fixtures of these tests (plugins' have no baseid) that are wider than a test. They are set up before narrower ones.
_shared: set[str] = set()
# A failed test's traceback holds what its frames held; one message is enough.
_failed: set[str] = set()
_latest: list[pytest.Item] = []


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    if fixturedef.scope != "function" and fixturedef.baseid and fixturedef.argname != "_module_leaves_nothing":
        _shared.add(fixturedef.argname)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    _latest[:] = [item]


def _forget_arguments() -> None:
    """pytest keeps the arguments of a test until all of its fixtures are gone, those of its module included."""
    for item in _latest:
        getattr(item, "funcargs", {}).clear()


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing() -> Iterator[None]:
    before = Holdings.now()
    yield
    _forget_arguments()
    check_nothing_left(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        _failed.add(item.nodeid)
    return report


@pytest.fixture(autouse=True)
def _test_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    if _shared.intersection(request.fixturenames):
        yield
        return
    before = Holdings.now()
    yield
    _forget_arguments()
    if request.node.nodeid not in _failed:
        check_nothing_left(before)

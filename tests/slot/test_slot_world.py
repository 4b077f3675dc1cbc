# SPDX-License-Identifier: BSD-3-Clause
"""The world in which a task finds itself: a real slot, seen from inside."""

import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

import covey
from covey import settings


@pytest.fixture(scope="module")
def client() -> Iterator[covey.Client]:
    with covey.Client(max_cpu=1) as client:
        yield client


def inside(client: covey.Client, expression: str) -> object:
    """What the expression is in the slot; nothing but the builtin `eval` travels."""
    return client.submit(eval, expression).result(30)


@pytest.mark.skipif(not settings.read().native, reason="the link on pyzmq imports pyzmq")
def test_a_slot_imports_almost_nothing(client: covey.Client) -> None:
    with covey.Client(max_cpu=1) as fresh:
        loaded = set(str(inside(fresh, "' '.join(__import__('sys').modules)")).split())
    heavy = {
        "zmq",
        "numpy",
        "logging",
        "cloudpickle",
        "subprocess",
        "concurrent.futures",
        "asyncio",
        "dataclasses",
        "typing",
        "re",
    }
    assert loaded & heavy == set()


def test_it_is_where_the_caller_is(client: covey.Client) -> None:
    assert inside(client, "__import__('os').getcwd()") == os.getcwd()
    assert inside(client, "__import__('sys').path") == [entry or os.getcwd() for entry in sys.path]
    assert inside(client, "__import__('sys').argv") == sys.argv
    assert inside(client, "__import__('sys').executable") == sys.executable


def test_it_is_a_process_group_of_its_own_and_no_session(client: covey.Client) -> None:
    pid, group, session = str(
        inside(client, "'%d %d %d' % ((o := __import__('os')).getpid(), o.getpgrp(), o.getsid(0))")
    ).split()
    assert pid == group
    assert int(session) == os.getsid(0)


def test_standard_input_is_empty(client: covey.Client) -> None:
    assert inside(client, "__import__('sys').stdin.read()") == ""


def test_threads_of_libraries_share_the_cpus(client: covey.Client) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for name in names:
        expected = os.environ.get(name) or str(len(os.sched_getaffinity(0)))
        assert inside(client, f"__import__('os').environ[{name!r}]") == expected


def test_it_knows_that_it_is_a_slot(client: covey.Client) -> None:
    assert inside(client, "__import__('covey.slot').slot.number") == 1
    assert covey.slot.number is None  # type: ignore[attr-defined]


def test_it_holds_no_descriptor_that_it_does_not_need(client: covey.Client) -> None:
    folder = "/proc/self/fd"
    descriptors = (
        f"[os.readlink(f'{folder}/{{n}}') for n in os.listdir('{folder}') if os.path.exists(f'{folder}/{{n}}')]"
    )
    listed = f"(os := __import__('os')) and __import__('json').dumps({descriptors})"
    held = json.loads(str(inside(client, listed)))
    assert not [name for name in held if name.endswith("outfit")]
    assert len([name for name in held if "/slot-" in name and ".log" in name]) <= 1


def test_prints_appear_at_the_caller(client: covey.Client, capsys: pytest.CaptureFixture[str]) -> None:
    def chatty() -> None:
        print("line one")
        print("no newline", end="")
        print("to stderr", file=sys.stderr)

    client.submit(chatty).result(30)
    assert capsys.readouterr() == ("line one\nno newline", "to stderr\n")


def test_a_task_that_prints_too_much_is_cut_in_the_middle(
    client: covey.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def flood() -> None:
        for number in range(100_000):
            print(f"line {number}")

    client.submit(flood).result(30)
    shown = capsys.readouterr().out
    assert len(shown) < 200_000
    assert shown.startswith("line 0\nline 1\n")
    assert shown.endswith("line 99998\nline 99999\n")
    assert "bytes left out here" in shown


def test_log_records_appear_at_the_caller(client: covey.Client, caplog: pytest.LogCaptureFixture) -> None:
    def log() -> None:
        try:
            raise ValueError("in the slot")
        except ValueError:
            logging.getLogger("lab").exception("value %s", object)
        logging.getLogger("lab").debug("not asked for")

    client.submit(log).result(30)
    (record,) = [record for record in caplog.records if record.name == "lab"]
    assert record.getMessage() == "value <class 'object'>"
    assert "ValueError: in the slot" in (record.exc_text or "")
    assert record.process != os.getpid()


def test_what_c_code_prints_goes_to_the_callers_descriptors(capfd: pytest.CaptureFixture[str]) -> None:
    # A client of its own: its slots take over the descriptors of the moment.
    with covey.Client(max_cpu=1) as client:
        assert inside(client, "__import__('os').write(1, b'out') + __import__('os').write(2, b'err')") == 6
    assert capfd.readouterr() == ("out", "err")

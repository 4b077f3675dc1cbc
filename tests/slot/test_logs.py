# SPDX-License-Identifier: BSD-3-Clause
"""What a task logs: sealed in the slot, handled by the caller's loggers."""

import logging
import os
import pickle

import pytest

from covey.client.output import show
from covey.slot.logs import seal_record
from recorded import run_in_slot


def record(**extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "lab", "levelno": 40, "levelname": "ERROR", "msg": "%s = %d", "args": ("x", 3)}
    )
    made.__dict__.update(extra)
    return made


def test_logging_is_not_imported_for_those_who_do_not_log() -> None:
    run_in_slot("install()\nassert 'logging' not in sys.modules\nassert len(sys.meta_path) > 0")


def test_a_record_is_sent_whenever_logging_is_imported() -> None:
    sent, _, stderr = run_in_slot("""
install({"": 20, "quiet": 40})
finders = list(sys.meta_path)
import logging, importlib
assert len(sys.meta_path) == len(finders) - 1
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("lab").info("value %d", 3)
logging.getLogger("lab").debug("not asked for")
logging.getLogger("quiet").warning("not asked for")
logging.getLogger("quiet.part").error("yes")
output.flush()
assert not hasattr(vars(logging.__spec__.loader), "exec_module")
""")
    assert [stream for stream, _ in sent] == [3, 3]
    assert [pickle.loads(data)["msg"] for _, data in sent] == ["value 3", "yes"]
    assert stderr == ""


def test_a_record_is_sent_where_logging_was_there_before() -> None:
    sent, _, _ = run_in_slot("import logging\ninstall()\nlogging.warning('here')\noutput.flush()")
    assert pickle.loads(sent[0][1])["msg"] == "here"


def test_arguments_and_tracebacks_travel_as_text() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        content = pickle.loads(seal_record(record(exc_info=(ValueError, error, error.__traceback__))))
    assert content["msg"] == "x = 3"
    assert content["args"] is None
    assert content["exc_info"] is None
    assert "ValueError: boom" in content["exc_text"]


def test_a_record_says_where_it_was_made() -> None:
    sent, _, _ = run_in_slot("""
from covey import slot
class Runner:
    attempt = 2
slot.number, slot.running = 7, Runner()
install(host="lab7")
import logging
logging.getLogger("lab").warning("here")
logging.getLogger("lab").warning("there", extra={"covey_host": "deeper"})
""")
    here, there = (pickle.loads(data) for _, data in sent)
    assert (here["covey_host"], here["covey_slot"], here["covey_attempt"]) == (os.uname().nodename, 7, 2)
    assert here["msg"] == "here", "the caller puts the prefix there"
    assert there["covey_host"] == "deeper", "a record that a task of a task made keeps its own"


def test_what_cannot_be_pickled_travels_as_its_repr() -> None:
    content = pickle.loads(seal_record(record(helper=lambda: None, weight=2.5)))
    assert "<lambda>" in content["helper"]
    assert content["weight"] == 2.5


def test_the_callers_logger_handles_it(caplog: pytest.LogCaptureFixture) -> None:
    show(3, seal_record(record(user="ada")))
    (handled,) = caplog.records
    assert (handled.name, handled.levelno, handled.getMessage()) == ("lab", 40, "x = 3")
    assert handled.user == "ada"  # type: ignore[attr-defined]


def test_a_formatter_may_use_where_it_came_from(caplog: pytest.LogCaptureFixture) -> None:
    show(3, seal_record(record()), "square#3")
    (handled,) = caplog.records
    words = logging.Formatter("%(covey_host)s %(covey_task)s %(message)s").format(handled)
    assert words == f"{os.uname().nodename} square#3 x = 3"


def test_with_any_formatter_a_record_of_another_machine_is_known(caplog: pytest.LogCaptureFixture) -> None:
    show(3, seal_record(record(msg="100 %s", args=("%d",))), "square#3", "lab7")
    (handled,) = caplog.records
    assert handled.getMessage() == "[lab7: square#3] 100 %d"
    assert handled.covey_task == "square#3"  # type: ignore[attr-defined]


def test_the_callers_level_decides(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "lab")
    show(3, seal_record(record()))
    assert caplog.records == []

# SPDX-License-Identifier: BSD-3-Clause
"""A slot from exec to exit, with a runner that does what the test says in the place of the compiled one."""

import marshal
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from covey import slot
from covey.codec.parcel import seal
from covey.node.outfit import Outfit
from covey.slot.bootstrap import SOURCE

# Put where bootstrap's import of the compiled runner finds it.
RUNNER = """
import os, sys
def note(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def die_with_parent(parent):
    assert parent == os.getppid()
class Runner:
    def __init__(self, address, number, pid, **more):
        assert pid == os.getpid()
        note("made", address, number, sorted(more))
    def connect(self):
        note("connected", "pickle" in sys.modules, "logging" in sys.modules, "numpy" in sys.modules)
    def run(self):
        note("running")
        PROGRAM
    def output(self, stream, data):
        note("output", stream, data)
    def fail_setup(self, error):
        note("failed", type(error).__name__)
    def close(self):
        note("closed")
"""

PRELUDE = """\
import sys, types
sys.path[:] = {path!r}
sys.modules["covey.slot.runner"] = types.ModuleType("covey.slot.runner")
exec({runner!r}, vars(sys.modules["covey.slot.runner"]))
"""


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    notes: list[str]
    log: str
    stderr: str


def run_slot(tmp_path: Path, program: str = "return 0", setup: object = None) -> Done:
    """Runs a slot as the Launcher does; its runner's `run` is `program`."""
    outfit = tmp_path / "outfit"
    packed = Outfit("ipc://there", None if setup is None else (*seal(setup), b"token")).pack()
    outfit.write_bytes(packed)
    indented = "\n        ".join(program.strip().splitlines())
    source = PRELUDE.format(path=sys.path, runner=RUNNER.replace("PROGRAM", indented)) + SOURCE
    lifeline, held = os.pipe()
    with (
        open(tmp_path / "log", "w+b") as log,
        open(tmp_path / "stderr", "w+b") as stderr,
        open(tmp_path / "mark", "w+b") as mark,
    ):
        descriptors = (lifeline, stderr.fileno(), mark.fileno())
        process = subprocess.run(
            [sys.executable, "-c", source, str(outfit), "3", "0", "-1", str(os.getpid()), *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=descriptors,
            timeout=30,
        )
        os.close(lifeline)
        os.close(held)
        log.seek(0)
        stderr.seek(0)
        return Done(
            process.returncode,
            process.stdout.decode().splitlines(),
            log.read().decode(errors="replace"),
            stderr.read().decode(),
        )


def test_a_slot_says_hello_before_it_imports_anything_heavy(tmp_path: Path) -> None:
    done = run_slot(tmp_path)
    assert done.notes == [
        (
            "made ipc://there 3 "
            "['beat_every', 'device', 'far', 'kin', 'kind', 'lifeline', 'mark', 'max_rss', 'max_tasks', 'native', "
            "'result_limit']"
        ),
        "connected False False False",
        "running",
    ]
    assert (done.code, done.log, done.stderr) == (slot.EXIT_PLANNED, "up\n", "")


def test_the_world_of_a_task(tmp_path: Path) -> None:
    done = run_slot(
        tmp_path,
        """
import __main__, _signal, covey.slot
assert [name for name in vars(__main__) if not name.startswith("__")] == []
assert covey.slot.number == 3
assert _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN
assert _signal.getsignal(_signal.SIGTERM) == _signal.SIG_DFL
import faulthandler
assert faulthandler.is_enabled()
print("printed", sys.argv[0])
os.write(2, b"from C\\n")
""",
    )
    assert done.code == slot.EXIT_PLANNED, done
    assert done.notes[-1] == f"output 1 {f'printed {sys.argv[0]}'.encode() + bytes([10])!r}"
    assert done.stderr == "from C\n"
    assert done.log == "up\n"


@pytest.mark.parametrize(("leaving", "code"), [("3", 3), ("0", 0), ("None", 0), ("'sorry'", 1), ("256 + 7", 7)])
def test_sys_exit_in_a_task_is_no_planned_end(tmp_path: Path, leaving: str, code: int) -> None:
    done = run_slot(tmp_path, f"sys.exit({leaving})")
    assert done.code == code
    assert done.log == "up\n"
    assert ("output 2 b'sorry\\n'" in done.notes) == ("sorry" in leaving)


def test_a_runner_that_fails_writes_why(tmp_path: Path) -> None:
    done = run_slot(tmp_path, "raise ConnectionError('another version')")
    assert done.code == slot.EXIT_BROKEN
    assert done.log.endswith("ConnectionError: another version\n")


def test_what_cannot_be_imported_is_in_the_log(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOURCE, str(tmp_path / "missing"), "1", "0", "-1", "1", "0", "1", "1"],
        stderr=subprocess.PIPE,
        timeout=30,
    )
    assert done.returncode == 1
    assert b"FileNotFoundError" in done.stderr


def test_the_initializer_runs_before_tasks(tmp_path: Path) -> None:
    done = run_slot(tmp_path, "assert sys.flavour == 'sweet'", setup=(setattr, (sys, "flavour", "sweet")))
    assert (done.code, done.log) == (slot.EXIT_PLANNED, "up\n")


@pytest.mark.faults
def test_an_initializer_that_ends_the_process(tmp_path: Path) -> None:
    done = run_slot(tmp_path, setup=(os._exit, (4,)))
    assert (done.code, done.log) == (4, "its initializer was running\n")


def test_an_initializer_that_raises(tmp_path: Path) -> None:
    done = run_slot(tmp_path, setup=(int, ("three",)))
    assert done.code == slot.EXIT_SETUP_FAILED
    assert "failed bytes" in done.notes
    assert "running" not in done.notes
    said, _, _ = done.log.partition("\0")
    assert said.strip().endswith("ValueError: invalid literal for int() with base 10: 'three'")


def test_the_end_does_not_wait_for_threads_of_tasks(tmp_path: Path) -> None:
    done = run_slot(
        tmp_path,
        """
import atexit, threading
threading.Thread(target=threading.Event().wait).start()
atexit.register(print, "at exit")
print("unfinished", end="")
""",
    )
    assert done.code == slot.EXIT_PLANNED
    assert done.notes[-1] == "at exit"
    assert "output 1 b'unfinished'" in done.notes


@pytest.mark.faults
def test_a_crash_is_described_in_the_log(tmp_path: Path) -> None:
    done = run_slot(tmp_path, "import faulthandler\nfaulthandler._sigsegv()")
    assert done.code == -signal.SIGSEGV
    assert done.log.startswith("up\nFatal Python error: Segmentation fault")
    assert done.stderr == ""


def test_the_outfit_takes_over_what_the_caller_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["", "/lib/here"])
    monkeypatch.setattr(sys, "argv", ["script.py", "-v"])
    monkeypatch.chdir(tmp_path)
    content = marshal.loads(Outfit("ipc://x", (b"body", [bytearray(b"buffer")], b"token")).pack())
    assert content["path"] == [str(tmp_path), "/lib/here"]
    assert content["argv"] == ["script.py", "-v"]
    assert content["setup"] == (b"body", [b"buffer"], b"token")
    assert content["levels"][""] == 30

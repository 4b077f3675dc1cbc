# SPDX-License-Identifier: BSD-3-Clause
"""What a task prints: whole lines as they come, the rest at its end, never too much."""

from covey.slot.output import LIMIT, Ration
from recorded import run_in_slot


class Sent(list[tuple[int, bytes]]):
    def __call__(self, stream: int, data: bytes) -> None:
        self.append((stream, data))

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self)


def test_whole_lines_go_at_once_and_the_rest_at_the_end() -> None:
    sent, stdout, _ = run_in_slot("""
install()
print("one", 1)
sys.stderr.write("to stderr\\n")
print("unfinished", end="")
assert sent == [(1, b"one 1\\n"), (2, b"to stderr\\n")], sent
assert output.pending
output.flush()
assert not output.pending
""")
    assert sent == [(1, b"one 1\n"), (2, b"to stderr\n"), (1, b"unfinished")]
    assert stdout == ""


def test_nothing_is_pending_when_nothing_was_written() -> None:
    sent, _, _ = run_in_slot("install()\nassert not output.pending\noutput.flush()")
    assert sent == []


def test_the_streams_are_streams() -> None:
    sent, stdout, _ = run_in_slot("""
install()
assert sys.stdout.encoding == "utf-8" and not sys.stdout.isatty() and sys.stdout.writable()
assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
sys.stdout.buffer.write("bytes ü\\n".encode())
sys.stdout.writelines(["a\\n", "b\\n"])
print("half a surrogate: \\udc80")
print("now", end="", flush=True)
assert sent[-1] == (1, b"now"), sent
import subprocess
subprocess.run(["echo", "from C"], stdout=sys.stdout, check=True)
import faulthandler
faulthandler.dump_traceback(file=sys.stderr)
sys.stdout.reconfigure(line_buffering=False)
print("after")
output.flush()
""")
    assert b"".join(data for _, data in sent) == "bytes ü\na\nb\nhalf a surrogate: \\udc80\nnowafter\n".encode()
    assert stdout == "from C\n"


def test_a_closed_stream_does_not_disturb_the_end_of_a_task() -> None:
    sent, _, _ = run_in_slot(
        "install()\nprint('x')\nsys.stdout.close()\noutput.flush()\nsys.stderr.write('y')\noutput.flush()"
    )
    assert sent == [(1, b"x\n"), (2, b"y")]


def test_a_replaced_stream_is_left_alone() -> None:
    sent, _, _ = run_in_slot("""
install()
import io
mine = sys.stdout = io.StringIO()
print("mine")
output.flush()
assert mine.getvalue() == "mine\\n"
""")
    assert sent == []


def test_a_forked_child_writes_to_the_descriptors() -> None:
    sent, stdout, stderr = run_in_slot("""
install()
child = os.fork()
if child == 0:
    print("child's")
    import logging
    logging.getLogger("x").warning("child logs")
    sys.stderr.flush()
    os._exit(0)
os.waitpid(child, 0)
print("parent's")
""")
    assert sent == [(1, b"parent's\n")]
    assert stdout == "child's\n"
    assert "child logs" in stderr


def test_threads_may_print() -> None:
    sent, _, _ = run_in_slot("""
install()
import threading
threads = [threading.Thread(target=lambda: [print("x" * 9) for _ in range(500)]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
output.flush()
""")
    assert b"".join(data for _, data in sent).count(b"x") == 4 * 500 * 9


def test_after_the_end_of_the_link_the_streams_are_the_interpreters() -> None:
    sent, stdout, _ = run_in_slot("install()\nprint('sent', end='')\noutput.remove()\nprint('printed', flush=True)")
    assert sent == [(1, b"sent")]
    assert stdout == "printed\n"


def test_little_is_sent_as_it_comes() -> None:
    sent = Sent()
    ration = Ration(1, sent, limit=10)
    ration.take(b"12345")
    ration.take(b"67890")
    assert sent == [(1, b"12345"), (1, b"67890")]
    ration.end()
    assert len(sent) == 2


def test_of_much_the_head_and_the_tail_are_sent_and_a_line_says_what_is_missing() -> None:
    sent = Sent()
    ration = Ration(2, sent, limit=10)
    for number in range(100):
        ration.take(b"%04d" % number)
    assert sent.text == b"0000000100"
    ration.end()
    assert sent.text == b"0000000100\n[covey: 380 bytes left out here]\n9700980099"
    assert {stream for stream, _ in sent} == {2}
    ration.take(b"next task")
    assert sent[-1] == (2, b"next task")


def test_one_huge_piece_is_cut_between_characters() -> None:
    sent = Sent()
    ration = Ration(1, sent, limit=10)
    ration.take("ü€".encode() * 1000)
    ration.end()
    head, middle, tail = sent.text.split(b"\n")
    assert head.decode() == "ü€ü€"
    assert b"left out" in middle
    assert "ü€ü€".endswith(tail.decode())
    assert len(tail) <= 10


def test_just_more_than_the_head_loses_nothing() -> None:
    sent = Sent()
    ration = Ration(1, sent, limit=10)
    ration.take(b"x" * 19)
    ration.end()
    assert sent.text == b"x" * 19


def test_records_are_never_cut() -> None:
    sent = Sent()
    ration = Ration(3, sent, limit=10)
    for number in range(10):
        ration.take(b"record%d" % number, whole=True)
    ration.end()
    records = [data for stream, data in sent if stream == 3]
    assert records[:2] == [b"record0", b"record1"]
    assert records[-1] == b"record9"
    assert all(len(record) == 7 for record in records)
    assert [data for stream, data in sent if stream == 2], "what is missing is said where people look"


def test_for_a_caller_elsewhere_lines_are_whole() -> None:
    sent, _, _ = run_in_slot("""
install(host="lab7")
print("one", end=" ", flush=True)
assert sent == []
assert output.pending
print("line\\nand", end="")
assert sent == [(1, b"one line\\n")], sent
sys.stderr.write("a\\nb\\n")
output.flush()
assert not output.pending
print("next task")
""")
    assert sent == [(1, b"one line\n"), (2, b"a\n"), (2, b"b\n"), (1, b"and\n"), (1, b"next task\n")]


def test_the_prefixes_of_records_count_and_what_is_missing_is_a_line() -> None:
    sent = Sent()
    ration = Ration(3, sent, limit=100, toll=13)
    for number in range(20):
        ration.take(b"record%d" % (number % 10), whole=True)
    ration.end()
    assert sent.text.count(b"record") == 5 + 5
    assert (2, b"[covey: 70 bytes left out here]\n") in sent


def test_the_memory_for_the_tail_is_bounded() -> None:
    ration = Ration(1, Sent())
    for _ in range(100):
        ration.take(b"x" * 8192)
    assert sum(map(len, ration._tail)) <= LIMIT + 8192

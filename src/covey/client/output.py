# SPDX-License-Identifier: BSD-3-Clause
"""What tasks printed and logged, shown where the caller looks.

Why a prefix: lines of a script's own machine stay as they were printed, since programs read them; but of what comes
from other machines somebody will ask where. Which is which the node says that ran the task: one that serves other
programs sends its machine's name, the client's own node sends none. Names could not be compared: containers share them.

May not know: how it came here. Guarantees: `show` never raises, whatever the data and the caller's streams are: a full
disk behind a print must not cost anybody a result; a line with a prefix has one, and stands alone in its line.
"""

import contextlib
import pickle
import sys

__all__ = ["prefix_of", "show"]

# enum Stream of the protocol.
_STDERR = 2
_LOG = 3

# Of a task's name, whose end is its number.
_LONGEST_TASK = 60

# The streams at which the last that was shown did not end its line: stream to identity of the caller's object.
_half_lines: dict[int, int] = {}


def show(stream: int, data: bytes | bytearray | memoryview, task: str = "", host: str = "") -> None:
    """Writes a task's text to the caller's `sys.stdout` or `sys.stderr` of now, or hands a record to its logger.

    `host` is the machine's name if it is another than the caller's; then `data` is of whole lines.

    >>> show(1, b"from a slot\\n")
    from a slot
    >>> show(1, b"from far\\naway\\n", "square#3", "lab7")
    [lab7: square#3] from far
    [lab7: square#3] away
    """
    with contextlib.suppress(Exception):
        if stream == _LOG:
            _handle(bytes(data), task, host)
            return
        text = bytes(data).decode("utf-8", "replace")
        if host:
            prefix = prefix_of(host, task)
            text = "".join(f"{prefix}{line}\n" for line in text.removesuffix("\n").split("\n"))
        _write(stream, text, alone=bool(host))


def prefix_of(host: str, task: str) -> str:
    """What stands before each line of a task on another machine.

    >>> prefix_of("lab7", "square#3"), prefix_of("lab7", "")
    ('[lab7: square#3] ', '[lab7] ')
    """
    if len(task) > _LONGEST_TASK:
        task = f"…{task[-_LONGEST_TASK:]}"
    words = f"{host}: {task}" if task else host
    # A name that somebody else chose.
    return f"[{''.join(letter if letter.isprintable() else '?' for letter in words)}] "


def _write(stream: int, text: str, *, alone: bool) -> None:
    target = sys.stderr if stream == _STDERR else sys.stdout
    if target is None or not text:
        return
    if alone and _half_lines.get(stream) == id(target):
        text = f"\n{text}"
    if text.endswith("\n"):
        _half_lines.pop(stream, None)
    else:
        _half_lines[stream] = id(target)
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        # A progress bar stands on the last line: tqdm takes it away, writes, and puts it back.
        tqdm.tqdm.write(text, file=target, end="")
        return
    try:
        target.write(text)
    except UnicodeEncodeError:
        encoding = getattr(target, "encoding", None) or "ascii"
        target.write(text.encode(encoding, "backslashreplace").decode(encoding))
    target.flush()


def _handle(data: bytes, task: str, host: str) -> None:
    import logging

    content = pickle.loads(data)
    content.setdefault("covey_task", task)
    if host:
        content["msg"] = f"{prefix_of(host, task)}{content['msg']}"
    record = logging.makeLogRecord(content)
    logger = logging.getLogger(record.name)
    # The slot knows the levels that were set when it started; the caller may have changed its mind since.
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)

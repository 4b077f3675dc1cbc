# SPDX-License-Identifier: BSD-3-Clause
"""What tasks printed and logged, shown where the caller looks.

May not know: which task it was, and how it came here. Guarantees: `show` never raises, whatever the data and
the caller's streams are: a full disk behind a print must not cost anybody a result.
"""

import contextlib
import pickle
import sys

__all__ = ["show"]

# enum Stream of the protocol.
_STDERR = 2
_LOG = 3


def show(stream: int, data: bytes | bytearray | memoryview) -> None:
    """Writes a task's text to the caller's `sys.stdout` or `sys.stderr` of now, or hands a record to its logger.

    >>> show(1, b"from a slot\\n")
    from a slot
    """
    with contextlib.suppress(Exception):
        if stream == _LOG:
            _handle(bytes(data))
        else:
            _write(stream, bytes(data).decode("utf-8", "replace"))


def _write(stream: int, text: str) -> None:
    target = sys.stderr if stream == _STDERR else sys.stdout
    if target is None:
        return
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


def _handle(data: bytes) -> None:
    import logging

    record = logging.makeLogRecord(pickle.loads(data))
    logger = logging.getLogger(record.name)
    # The slot knows the levels that were set when it started; the caller may have changed its mind since.
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)

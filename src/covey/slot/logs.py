# SPDX-License-Identifier: BSD-3-Clause
"""Log records of a task, on their way to the caller's handlers.

Why an import hook: logging costs 8 ms to import, and many a slot never logs. The handler is put in place at
the moment when somebody imports logging, which is before anybody can configure it, so that a module's
`basicConfig` finds a configured root and leaves it alone.

May not know: links, what the caller calls the task. Guarantees: a record that cannot be pickled goes as far as its
text goes; it says where it was made; levels are those of who started the slot, so what that one would drop is not sent.
"""

import os
import sys

from covey import slot

__all__ = ["install"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    SendRecord = Callable[[bytes], None]


def install(send: "SendRecord", levels: "Mapping[str, int]") -> None:
    """Hands every log record to `send`, as soon as there is anything that could make one."""
    owner = os.getpid()
    if "logging" in sys.modules:
        _set_handler(send, levels, owner)
    else:
        sys.meta_path.insert(0, _LoggingFinder(send, levels, owner))


class _LoggingFinder:
    """Waits for `import logging`, finishes it, and goes."""

    def __init__(self, send: "SendRecord", levels: "Mapping[str, int]", owner: int) -> None:
        self._send = send
        self._levels = levels
        self._owner = owner

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name != "logging":
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._follow(spec)
                return spec
        return None

    def _follow(self, spec: "ModuleSpec") -> None:
        loader = spec.loader
        if loader is None or isinstance(loader, type):
            # A class serves every module of its kind, so it must not be changed; such a Python is not known.
            return
        execute = loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            del loader.exec_module
            execute(module)
            _set_handler(self._send, self._levels, self._owner)

        # On this one loader object, which loads this one module.
        loader.exec_module = exec_module  # type: ignore[method-assign]


def _set_handler(send: "SendRecord", levels: "Mapping[str, int]", owner: int) -> None:
    import logging

    class ToCaller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if os.getpid() != owner:
                # A forked child has no link; this is what logging does where nobody is configured.
                if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
                    logging.lastResort.handle(record)
                return
            try:
                send(seal_record(record))
            except Exception:
                self.handleError(record)

    logging.root.addHandler(ToCaller())
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def seal_record(record: "logging.LogRecord") -> bytes:
    """The record as bytes: its arguments become part of its message, its traceback becomes text, and where it was made
    stands in it as `covey_host`, `covey_slot` and `covey_attempt`."""
    import logging
    import pickle

    runner = slot.running
    # The record's own last: one that came to this task from a slot of its own says where that was.
    content = {
        "covey_host": os.uname().nodename,
        "covey_slot": slot.number,
        "covey_attempt": runner.attempt if runner is not None else 0,
        **record.__dict__,
    }
    content["msg"] = record.getMessage()
    content["args"] = None
    if record.exc_info and not record.exc_text:
        content["exc_text"] = logging.Formatter().formatException(record.exc_info)
    content["exc_info"] = None
    try:
        return pickle.dumps(content, 5)
    except Exception:
        # What a user put there with extra=; the rest of a record is text and numbers.
        plain = (str, int, float, bool, type(None))
        content = {key: value if isinstance(value, plain) else repr(value) for key, value in content.items()}
        return pickle.dumps(content, 5)

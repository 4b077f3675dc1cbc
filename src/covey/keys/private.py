# SPDX-License-Identifier: BSD-3-Clause
"""Files that nobody else may read.

Why: whoever reads a key can run code as its user, so a file that others could have read is no key any more, and one
that another user has put there never was.

May not know: what stands in the files. Guarantees: what is read belongs to this user alone; what is written is 0600
from its first byte, and is seen whole or not at all, by whoever looks and after a crash. The checks are made on the
opened file, so that nobody can change it between check and reading. What is written comes as a function, so that no
secret is a local variable of a frame that raises.
"""
from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from covey.errors import KeyRefused

__all__ = ["create_private", "fault_of", "read_private", "replace_private"]

# Nothing that covey writes comes near this; a device or a wrong file must not fill the memory.
_LIMIT = 1 << 16


def read_private(path: str, what: str, is_ours: Callable[[bytes], bool] = bool) -> bytes:
    """All of the file; KeyRefused with a sentence that calls it `what`, FileNotFoundError if there is none. What is not
    private and not `is_ours` either is somebody's other file, to which nobody shall be told to do anything."""
    try:
        # Not to wait for the other end of a FIFO. Links are followed: mounted secrets are links.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise KeyRefused(f"{what} {path} cannot be read ({_reason(error)}): see that this user may read it") from None
    try:
        fault = fault_of(path, what, os.fstat(descriptor), os.geteuid())
        if fault and _is_another_file(descriptor, is_ours):
            raise KeyRefused(f"{what} {path} is none that covey wrote: name the right file")
        if fault:
            raise KeyRefused(fault)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_LIMIT)
    except OSError as error:
        raise KeyRefused(f"{what} {path} cannot be read ({_reason(error)}): copy it anew") from None
    finally:
        os.close(descriptor)


def _is_another_file(descriptor: int, is_ours: Callable[[bytes], bool]) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_size < _LIMIT and not is_ours(os.pread(descriptor, _LIMIT, 0))


def fault_of(path: str, what: str, found: os.stat_result, user: int) -> str | None:
    """Why a file is not private to the user, in one sentence; None if it is.

    >>> fault_of("k", "the key file", os.stat_result((0o100644, 0, 0, 1, 7, 7, 65, 0, 0, 0)), 7)
    'the key file k can be read or changed by others (mode 0644): chmod 600 k, and make a new one if others may have it'
    """
    if not stat.S_ISREG(found.st_mode):
        sort = "a directory" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        return f"{what} {path} is {sort}: name a file"
    if found.st_uid != user:
        return (f"{what} {path} belongs to user {found.st_uid}, and this process runs as user {user}: "
                f"chown {user} {path}, if you trust what is in it")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return (f"{what} {path} can be read or changed by others (mode {mode:04o}): chmod 600 {path}, "
                "and make a new one if others may have it")
    if found.st_size >= _LIMIT:
        return f"{what} {path} is too large for one ({found.st_size:,} bytes): name the right file"
    return None


def create_private(path: str, content: Callable[[], bytes], what: str) -> bool:
    """Makes the file, and what is missing of its folder, 0700. False, and nothing changed, if the path is taken."""
    temporary = _write_beside(path, content, what)
    try:
        # Unlike a rename, a link never replaces what another process made at the same moment.
        os.link(temporary, path)
        _make_durable(path)
    except FileExistsError:
        return False
    except OSError as error:
        raise _cannot_write(path, what, error) from None
    finally:
        os.unlink(temporary)
    return True


def replace_private(path: str, content: Callable[[], bytes], what: str) -> None:
    """Makes the file, or puts it in the place of the one that is there."""
    temporary = _write_beside(path, content, what)
    try:
        os.replace(temporary, path)
        _make_durable(path)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise _cannot_write(path, what, error) from None


def _write_beside(path: str, content: Callable[[], bytes], what: str) -> str:
    """A new file beside the path, with its content safely on disk; returns its path."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        if not os.path.isdir(folder):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content())
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        raise _cannot_write(path, what, error) from None
    return temporary


def _make_durable(path: str) -> None:
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: str, what: str, error: Exception) -> KeyRefused:
    return KeyRefused(f"{what} {path} cannot be written ({_reason(error)}): name a place that this user may write to")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)

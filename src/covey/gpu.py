# SPDX-License-Identifier: BSD-3-Clause
"""CUDA for a task in a GPU slot.

    >>> def double(x):
    ...     from pycuda import gpuarray
    ...     covey.gpu.context()
    ...     return (2 * gpuarray.to_gpu(x)).get()

Why: a CUDA context takes a quarter of a second and some hundred megabytes to make, and must be current in the
thread that uses it, and gone before the process is. A task asks here, and every task of the slot gets the same.

May not know: how the slot was given its GPU. PyCUDA is imported at the first call, so that covey needs none.
Guarantees: one context a slot, the primary one, which torch, CuPy and Numba share; detached when the slot ends.
"""

import atexit
import threading
from typing import Any

from covey.errors import CoveyError
from covey.slot.current import current

__all__ = ["context"]

_lock = threading.Lock()
_context: Any = None


def context() -> Any:
    """The `pycuda.driver.Context` of this slot, current in this thread from now on.

    CoveyError, if this is no task in a GPU slot, or PyCUDA is not installed.

    >>> def name_of_gpu():
    ...     return covey.gpu.context().get_device().name()
    """
    global _context
    here = current()
    if here is None or not here.is_gpu:
        place = "outside a task" if here is None else f"in CPU slot {here.slot} on {here.host}"
        raise CoveyError(f"covey.gpu.context() was called {place}: send the call to a GPU slot, by options(gpu=1)")
    try:
        import pycuda.driver as driver
    except ImportError as error:
        raise CoveyError(
            f"covey.gpu.context() needs PyCUDA, which cannot be imported on {here.host} ({error}): "
            "install it there, by pip install 'covey[gpu]'"
        ) from error
    with _lock:
        if _context is None:
            driver.init()
            # The slot sees one device, whichever number it has elsewhere.
            _context = driver.Device(0).retain_primary_context()
            atexit.register(_detach, driver)
    # Each thread has a stack of its own, and the user's code may have popped what was pushed for an earlier task.
    if driver.Context.get_current() != _context:
        _context.push()
    return _context


def _detach(driver: Any) -> None:
    global _context
    if driver.Context.get_current() == _context:
        driver.Context.pop()
    # What PyCUDA keeps per context would otherwise be freed after it.
    from pycuda.tools import clear_context_caches

    clear_context_caches()
    _context.detach()
    _context = None

# SPDX-License-Identifier: BSD-3-Clause
"""Futures that cost a tenth of the standard library's and are the standard library's.

Why: a no-op task's largest cost would be its future: `concurrent.futures.Future()` makes a Condition
and two lists that most futures never need. Here a compiled core answers the common questions, and
makes the Condition when somebody must wait, a callback is added, or `wait` and `as_completed` look
for it. Everything else is inherited, so `isinstance`, `asyncio.wrap_future` and friends hold.

May not know: parcels, sockets. Guarantees: a state changes under the Condition if there is one, and
under the GIL in one stretch without a Python call if there is none; so no wake-up is lost.
"""
from concurrent.futures import CancelledError, Future as StandardFuture, TimeoutError as FutureTimeout
from threading import Condition, Event
from time import monotonic

from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from covey.link.wake cimport EAGER, SOON

cdef extern from *:
    """
    /* A new instance of the class, as its own tp_new makes it; no argument parsing. */
    #define covey_make(cls, nothing) (((PyTypeObject*) (cls))->tp_new((PyTypeObject*) (cls), (nothing), NULL))
    """
    object covey_make(object cls, object nothing)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void* op)
    void PyObject_GC_Track(void* op)
    int PyObject_GC_IsTracked(PyObject* op)

# Python notices Ctrl-C in a wait only if it comes while the thread really sleeps: one that comes while the GIL is
# being handed over, just before, is noticed at the next wake-up. So nobody sleeps for longer than this in one go.
cdef double ATTENTIVE = 0.3

# Whether the last caller that waited for an outcome had it soon.
cdef bint _quick = True

cdef tuple NAMES = ("PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED")
cdef tuple NOTHING = ()


class _AttentiveEvent(Event):
    """An event whose waiters look up now and then, see ATTENTIVE."""

    def wait(self, timeout=None):
        end = None if timeout is None else monotonic() + timeout
        while end is None or monotonic() < end:
            if super().wait(ATTENTIVE if end is None else min(ATTENTIVE, max(0.0, end - monotonic()))):
                return True
        return self.is_set()


class _Waiters(list):
    """Who waits for a future in `concurrent.futures.wait` and its like, which themselves would sleep through a Ctrl-C."""

    __slots__ = ()

    def append(self, waiter):
        event = getattr(waiter, "event", None)
        # It has just been made, and nobody waits for it yet.
        if type(event) is Event and not event.is_set():
            waiter.event = _AttentiveEvent()
        super().append(waiter)


cdef class FutureCore:
    """The part of a `Future` that is compiled; never made alone."""

    cdef object make_condition(self):
        cdef object condition
        if self.condition is None:
            condition = Condition()
            # Another thread may have been quicker while that ran.
            if self.condition is None:
                if not PyObject_GC_IsTracked(<PyObject*> self):
                    PyObject_GC_Track(<void*> self)
                self.waiters = _Waiters()
                self.callbacks = []
                self.condition = condition
        return self.condition

    @property
    def _condition(self):
        return self.make_condition()

    @_condition.setter
    def _condition(self, condition):
        self.condition = condition

    @property
    def _state(self):
        return NAMES[self.state]

    @_state.setter
    def _state(self, name):
        self.state = NAMES.index(name)

    @property
    def _result(self):
        return self.value

    @_result.setter
    def _result(self, value):
        self.value = value

    @property
    def _exception(self):
        return self.error

    @_exception.setter
    def _exception(self, error):
        self.error = error

    @property
    def _waiters(self):
        self.make_condition()
        return self.waiters

    @_waiters.setter
    def _waiters(self, waiters):
        self.waiters = waiters

    @property
    def _done_callbacks(self):
        self.make_condition()
        return self.callbacks

    @_done_callbacks.setter
    def _done_callbacks(self, callbacks):
        self.callbacks = callbacks

    @property
    def run_seconds(self):
        """How long the task ran in its slot, or None while it is not done."""
        return self.run_us * 1e-6 if self.state == FINISHED else None

    @property
    def attempt(self):
        """Which attempt the outcome is of, from 1; 0 while there is none."""
        return self.tries

    def done(self):
        """Whether the future is cancelled or has a result or an exception."""
        if self.state < CANCELLED:
            if self.exchange is not None:
                # A caller that spins on done() holds the GIL that the outcome needs.
                self.exchange._give_way()
            return self.state >= CANCELLED
        return True

    def cancel(self, *, bint force=False):
        """Cancels the task unless it runs or is done; True if it will never deliver.

        Parameters:
            force: even if it runs; its slot is killed and replaced.

        >>> with covey.Client() as client:                          # doctest: +SKIP
        ...     client.submit(pow, 2, 10).cancel()
        """
        cdef object exchange = self.exchange
        cdef int last = RUNNING if force else PENDING
        if self.state <= last and exchange is not None:
            with self.make_condition():
                if self.state > last:
                    return self.state in (CANCELLED, CANCELLED_AND_NOTIFIED)
                self.state = CANCELLED
                self.condition.notify_all()
            exchange._withdraw(self, force)
            # Nobody else will ever pick the task up, so this is also the notification.
            self.set_running_or_notify_cancel()
            self.exchange = None
            self._invoke_callbacks()
            return True
        return StandardFuture.cancel(self)

    def result(self, timeout=None):
        """The value of the call, waiting for it at most `timeout` seconds; raises what the call raised."""
        if self.state != FINISHED:
            self.wait_done(timeout)
        if self.error is not None:
            try:
                raise self.error
            finally:
                # As the standard library does: no cycle through the traceback.
                self = None
        return self.value

    def exception(self, timeout=None):
        """The exception of the call or None, waiting for it at most `timeout` seconds."""
        if self.state != FINISHED:
            self.wait_done(timeout)
        return self.error

    cdef int wait_done(self, object timeout) except -1:
        cdef object condition
        cdef object deadline
        cdef object left
        cdef double start
        cdef int _look
        global _quick
        if self.exchange is not None:
            self.exchange.flush()
            if _quick:
                with nogil:
                    # As everybody on the way does (see wake.pxd): a Condition costs more than a quick outcome takes.
                    for _look in range(EAGER):
                        if self.state >= CANCELLED:
                            break
                        sched_yield()
                if self.state == FINISHED:
                    return 0
        condition = self.make_condition()
        start = monotonic()
        deadline = None if timeout is None else start + timeout
        with condition:
            while self.state < CANCELLED:
                if deadline is None:
                    condition.wait(ATTENTIVE)
                    continue
                left = deadline - monotonic()
                if left <= 0:
                    raise FutureTimeout()
                condition.wait(left if left < ATTENTIVE else ATTENTIVE)
            _quick = monotonic() - start < SOON
            if self.state != FINISHED:
                raise CancelledError()
        return 0

    def __repr__(self):
        name = getattr(self.entry, "name", None) or "call"
        text = f"<covey.Future {name}#{self.ticket >> 32} {NAMES[self.state].lower()}"
        if self.state == FINISHED:
            if self.error is not None:
                text += f", raised {type(self.error).__name__}"
            else:
                text += f", returned {type(self.value).__name__}"
        return text + ">"


class Future(FutureCore, StandardFuture):
    """What `Client.submit` returns: a `concurrent.futures.Future` with `run_seconds` and `attempt` besides.

    >>> with covey.Client() as client:                              # doctest: +SKIP
    ...     client.submit(pow, 2, 10).result()
    1024
    """

    __slots__ = ()


class Partial:
    """The outcome of a bundle of calls of which one raised: the results before it, and its exception."""

    __slots__ = ("error", "results")

    def __init__(self, results, error):
        self.results = results
        self.error = error


cdef object _class = Future


cdef FutureCore future_new(object exchange, object entry):
    cdef FutureCore self = <FutureCore> covey_make(_class, NOTHING)
    # Until somebody waits, nothing that it holds can lead back to it: the collector need not visit
    # a hundred thousand of them again and again.
    PyObject_GC_UnTrack(<void*> self)
    self.exchange = exchange
    self.entry = entry
    return self


def make_future(cls, exchange, entry, number):
    """A future of a subclass, for a call that `exchange` can flush and withdraw; people call it by that number."""
    cdef FutureCore self = <FutureCore> covey_make(cls, NOTHING)
    self.exchange = exchange
    self.entry = entry
    self.ticket = <uint64_t> number << 32
    return self


cdef int future_finish(FutureCore self, object value, object error) except -1:
    if self.condition is None:
        if self.state < CANCELLED:
            self.value = value
            self.error = error
            self.state = FINISHED
            self.exchange = None
            if error is not None and not PyObject_GC_IsTracked(<PyObject*> self):
                # Raised by result(), the error gets a traceback whose frames may hold this future: a cycle.
                PyObject_GC_Track(<void*> self)
        return 0
    with self.condition:
        if self.state >= CANCELLED:
            return 0
        self.value = value
        self.error = error
        self.state = FINISHED
        self.exchange = None
        for waiter in self.waiters:
            if error is None:
                waiter.add_result(self)
            else:
                waiter.add_exception(self)
        self.condition.notify_all()
    if self.callbacks:
        self._invoke_callbacks()
    return 0


cdef int future_run(FutureCore self) except -1:
    if self.condition is None:
        if self.state == PENDING:
            self.state = RUNNING
        return 0
    with self.condition:
        if self.state == PENDING:
            self.state = RUNNING
    return 0

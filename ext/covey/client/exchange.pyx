# SPDX-License-Identifier: BSD-3-Clause
"""Calls become tasks: the compiled half of the client.

Why compiled: `submit` is the hot path; here it is one dict-free look at the function, a few tags in a
buffer, and a future. Everything that is not hot is `covey.client.client`'s.

May not know: slots, nodes, how a map is cut. Guarantees: a call that cannot be sent raises here and
leaves nothing behind; a function's body is sent once, ahead of its first task. Any thread.
"""
import os
import sys
import threading

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from covey.client.futures cimport FutureCore, future_new
from covey.client.line cimport Line
from covey.codec.values cimport ARGS, CALL, VALUES, values_encode, values_seal
from covey.codec.watch cimport Function, FunctionCache
from covey.link.asker cimport (
    asker_bye, asker_forget, asker_hello, asker_put, asker_put_function, asker_put_note)
from covey.link.libzmq cimport (
    ZMQ_DEALER, ZMQ_LINGER, ZMQ_RCVHWM, ZMQ_SNDHWM, libzmq_raise, the_context, zmq)
from covey.link.wake cimport wake_free, wake_ring
from covey.wire.bale cimport Bale, bale_of_buffers
from covey.wire.buffer cimport Buffer, buffer_clear, buffer_free, buffer_init, buffer_put, buffer_reserve
from covey.wire.protocol cimport NEEDS_CPU
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock


cdef class Exchange:
    """The compiled base of `covey.Client`: a link to the broker at `address`, and the functions it knows.

    `slots` is how many slots the flock has; None asks the broker.
    """

    cdef Line line
    cdef FunctionCache functions
    cdef set shipped                    # numbers of functions that the broker has
    cdef Buffer scratch
    cdef readonly uint64_t parcel_limit
    cdef uint32_t count
    cdef object thread
    cdef object ship_lock
    cdef bint native

    def __cinit__(self, *args, **kwargs):
        buffer_init(&self.scratch)

    def __dealloc__(self):
        buffer_free(&self.scratch)

    def __init__(self, str address not None, settings, slots=None):
        from covey.client.output import show
        from covey.codec.functions import FunctionBook

        cdef bytes encoded = address.encode()
        cdef bytes host = os.uname().nodename.encode()[:255]
        cdef int linger = 500
        cdef int unlimited = 0
        self.line = Line(show, settings.backlog)
        self.shipped = set()
        self.ship_lock = threading.Lock()
        self.parcel_limit = settings.parcel_limit
        self.functions = FunctionBook(_Forgetter(self.line, self.shipped), ship_limit=settings.ship_limit)
        self.native = settings.native
        if self.native:
            try:
                self.line.end.socket = zmq.socket(the_context.take(), ZMQ_DEALER)
            except ImportError:
                self.native = False
        if self.native:
            if self.line.end.socket == NULL:
                libzmq_raise("making the client's socket")
            zmq.setsockopt(self.line.end.socket, ZMQ_LINGER, &linger, sizeof(int))
            # Credit bounds what goes, and our own queue what waits for it.
            zmq.setsockopt(self.line.end.socket, ZMQ_SNDHWM, &unlimited, sizeof(int))
            zmq.setsockopt(self.line.end.socket, ZMQ_RCVHWM, &unlimited, sizeof(int))
            if zmq.connect(self.line.end.socket, encoded) < 0:
                libzmq_raise(f"connecting to the broker at {address}")
            target = self.line.attend
        else:
            from covey.link.plain import PlainLink

            target = PlainLink(self.line, address).run
        asker_hello(
            &self.line.end, sys.version_info[0] << 8 | sys.version_info[1], os.getpid(), PyBytes_AS_STRING(host),
            PyBytes_GET_SIZE(host))
        self.thread = threading.Thread(target=target, name="covey-client", daemon=True)
        self.thread.start()
        if slots is None:
            if not self.line.wait_welcome(5.0):
                self.close(None)
                from covey.errors import LinkRefused

                raise LinkRefused(f"nobody answers at {address}: is the client that gave this address still open?")
            slots = max(1, self.line.slots)
        self.count = slots

    @property
    def book(self):
        """The functions of this client; see `covey.codec.functions.FunctionBook`."""
        return self.functions

    @property
    def slots(self):
        """How many slots the flock has."""
        return self.count

    @property
    def unfinished(self):
        """How many of this client's tasks are not done."""
        return self.line.live if self.line is not None else 0

    def submit(self, fn, /, *args, **kwargs):
        """Runs `fn(*args, **kwargs)` in a slot; returns its future at once.

        >>> with covey.Client() as client:                      # doctest: +SKIP
        ...     client.submit(pow, 2, 10).result()
        1024
        """
        cdef Function function
        cdef FutureCore future
        if self.line.refusal is not None:
            raise self.line.refusal
        function = self.functions.find(fn)
        if function is self.functions.caller or kwargs:
            return self.send(fn, args, kwargs)
        if function.number not in self.shipped:
            self._ship(function)
        # From here on nothing may run Python code (the collector, another thread) that could use the scratch too.
        future = future_new(self.line, function)
        buffer_clear(&self.scratch)
        if buffer_reserve(&self.scratch, 64) == NULL:
            raise MemoryError("no memory for a parcel")
        self.scratch.data[0] = VALUES
        self.scratch.used = 1
        if values_encode(&self.scratch, args) != 1:
            return self.send(fn, args, kwargs)
        self._put(future, function.number, self.scratch.data, self.scratch.used, NULL, 0, NEEDS_CPU, 0, 0, 0, 0, 0, 0)
        if self.line.end.unsent_bytes >= self.line.backlog:
            self.line.wait_room()
        return future

    cdef uint64_t _put(
            self, FutureCore future, uint32_t function, const unsigned char* parcel, size_t size, Bale* bale,
            int priority, int needs, int share, int flags, int retries, int crashes, uint32_t timeout_ms,
            uint32_t retry_wait_ms) except 0:
        # The I/O thread may settle the ticket before this returns, but not before it has the GIL.
        Py_INCREF(future)
        self.line.live += 1
        future.ticket = asker_put(
            &self.line.end, <void*> future, function, parcel, <uint32_t> size, bale, <int16_t> priority,
            <uint8_t> needs, <uint16_t> share, <uint8_t> flags, <uint8_t> retries, <uint8_t> crashes, timeout_ms,
            retry_wait_ms)
        if future.ticket == 0:
            self.line.live -= 1
            Py_DECREF(future)
            raise MemoryError("no memory for another task")
        return future.ticket

    cdef int _ship(self, Function function) except -1:
        cdef bytes body
        cdef bytes digest
        cdef Bale* bale
        with self.ship_lock:
            if function.number in self.shipped:
                return 0
            body = function.body
            digest = function.digest
            bale = bale_of_buffers(function.buffers)
            asker_put_function(
                &self.line.end, function.number, <const unsigned char*> PyBytes_AS_STRING(digest),
                <const unsigned char*> PyBytes_AS_STRING(body), <uint32_t> PyBytes_GET_SIZE(body), bale)
            self.shipped.add(function.number)
            # The broker keeps the body for as long as we keep the number.
            function.body = None
            function.buffers = []
        return 0

    def send(
            self, fn, args, kwargs, *, int priority=0, int needs=NEEDS_CPU, int share=0, int flags=0, int retries=0,
            double retry_wait=0.0, retry_on=None, timeout=None):
        """`submit` with what rides beside the call."""
        cdef Function function
        if self.line.refusal is not None:
            raise self.line.refusal
        function = self.functions.find(fn)
        if function is self.functions.caller:
            args = (fn, *args)
        return self.post(
            function, CALL if kwargs else ARGS, (args, kwargs) if kwargs else args, priority=priority, needs=needs,
            share=share, flags=flags, retries=retries, retry_wait=retry_wait, retry_on=retry_on, timeout=timeout)

    def post(
            self, Function entry not None, int form, obj, *, int priority=0, int needs=NEEDS_CPU, int share=0, int flags=0, int retries=0,
            double retry_wait=0.0, retry_on=None, timeout=None, int crashes=0):
        """One task for a function of this client's book, its arguments in one of the codec's forms."""
        cdef Buffer parcel
        cdef FutureCore future
        cdef Bale* bale = NULL
        cdef uint64_t size
        cdef uint32_t timeout_ms = _limit_ms(timeout)
        cdef uint32_t retry_wait_ms = _rest_ms(retry_wait)
        cdef set references = set() if self.functions.shipping else None
        if self.line.failed:
            raise self.line.refusal
        buffer_init(&parcel)
        try:
            if retry_on is not None:
                _put_ahead(&parcel, retry_on.ahead)
                if references is not None:
                    references |= retry_on.references
            buffers = values_seal(&parcel, form, obj, entry.name, references)
            if references:
                entry = self.functions.equip(entry, references)
            size = parcel.used
            if buffers is not None:
                for buffer in buffers:
                    size += memoryview(buffer).nbytes
            if size > self.parcel_limit:
                from covey.errors import ParcelTooLarge

                raise ParcelTooLarge(f"the call of {entry.name}", size, self.parcel_limit)
            bale = bale_of_buffers(buffers)
            if entry.number not in self.shipped:
                self._ship(entry)
            future = future_new(self.line, entry)
            self._put(
                future, entry.number, parcel.data, parcel.used, bale, priority, needs, share, flags, retries, crashes,
                timeout_ms, retry_wait_ms)
            if self.line.end.unsent_bytes >= self.line.backlog:
                self.line.wait_room()
            return future
        finally:
            buffer_free(&parcel)

    def post_sealed(
            self, Function entry not None, bytes parcel not None, list buffers not None, *, int needs, int priority=0,
            int share=0, int flags=0, int retries=0, double retry_wait=0.0, timeout=None, int crashes=0):
        """One task whose parcel is bytes already; also after `refuse`. Never waits: whoever uses it bounds it."""
        cdef FutureCore future
        cdef Bale* bale
        if self.line.failed:
            raise self.line.refusal
        if entry.number not in self.shipped:
            self._ship(entry)
        bale = bale_of_buffers(buffers)
        future = future_new(self.line, entry)
        self._put(
            future, entry.number, <const unsigned char*> PyBytes_AS_STRING(parcel), PyBytes_GET_SIZE(parcel), bale,
            priority, needs, share, flags, retries, crashes, _limit_ms(timeout), _rest_ms(retry_wait))
        return future

    def wait_room(self):
        """Waits while the backlog of parcels is full, as `post` does; `post_sealed` does not."""
        if self.line.end.unsent_bytes >= self.line.backlog:
            self.line.wait_room()

    def hear_starts(self, hear):
        """`hear` is given each future whose task is said to run, by the thread that sets futures; it must be quick."""
        self.line.started = hear

    def listen(self, FutureCore future not None, hear):
        """What the task writes to us is given to `hear`, as bytes, by the thread that sets futures, until its outcome is
        here. What it wrote before is given at once."""
        self.line.listen(future.ticket, hear)

    def write(self, FutureCore future not None, bytes text not None):
        """A note to the task, which must have written first: to one that runs nowhere it is lost."""
        cdef uint64_t ticket = future.ticket
        cdef const unsigned char* data = <const unsigned char*> PyBytes_AS_STRING(text)
        cdef uint32_t size = <uint32_t> PyBytes_GET_SIZE(text)
        cdef int done
        with nogil:
            done = asker_put_note(&self.line.end, ticket, data, size)
        if done < 0:
            raise MemoryError("no memory for a note")

    def flush(self):
        """Sends what is batched now, without waiting for more."""
        self.line.flush()

    def require_taking(self):
        """Raises why no task is taken any more, if so."""
        if self.line.refusal is not None:
            raise self.line.refusal

    def refuse(self, error):
        """New calls raise `error` from now on; what was taken goes on."""
        if self.line is not None:
            self.line.refuse(error)

    def fail(self, error):
        """New calls raise `error`, and so does everything that is unfinished."""
        if self.line is not None:
            self.line.fail(error)

    def cancel_all(self):
        """Cancels every call that has not started."""
        self.line.cancel_all()

    def wait_idle(self, timeout=None):
        """Waits until nothing is unfinished; False if that takes longer than `timeout` seconds."""
        return self.line.wait_idle(timeout)

    def close(self, error):
        """Ends the link; what is unfinished raises `error`."""
        cdef void* socket
        if self.line is None or self.line.end.closed:
            return
        if error is not None:
            self.line.fail(error)
        with nogil:
            asker_bye(&self.line.end)
            PyThread_acquire_lock(self.line.end.lock, 1)
            self.line.end.closed = True
            PyThread_release_lock(self.line.end.lock)
            wake_ring(&self.line.end.kick)
        if threading.current_thread() is not self.thread:
            self.thread.join()
        self.functions.clear()
        PyThread_acquire_lock(self.line.end.lock, 1)
        socket = self.line.end.socket
        self.line.end.socket = NULL
        # Futures may outlive the client for long; the bell has nobody to call any more.
        wake_free(&self.line.end.kick)
        PyThread_release_lock(self.line.end.lock)
        if socket != NULL:
            with nogil:
                zmq.close(socket)
            the_context.give_back()


cdef uint32_t _limit_ms(timeout) except? 0:
    """What a TaskRecord says of a time limit; 0: none."""
    return 0 if timeout is None else max(1, <uint32_t> (timeout * 1000))


cdef uint32_t _rest_ms(double retry_wait) noexcept:
    return <uint32_t> (retry_wait * 1000 + 0.999)


cdef int _put_ahead(Buffer* parcel, bytes ahead) except -1:
    if buffer_put(parcel, PyBytes_AS_STRING(ahead), PyBytes_GET_SIZE(ahead)) < 0:
        raise MemoryError("no memory for a parcel")
    return 0


class _Forgetter:
    """Tells the broker that a function will not be called again; from any thread, at any moment."""

    __slots__ = ("line", "shipped")

    def __init__(self, line, shipped):
        self.line = line
        self.shipped = shipped

    def __call__(self, number):
        if number in self.shipped:
            self.shipped.discard(number)
            _forget(self.line, number)


cdef int _forget(Line line, uint32_t number) except -1:
    if not line.end.closed:
        asker_forget(&line.end, number)
    return 0

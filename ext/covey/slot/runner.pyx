# SPDX-License-Identifier: BSD-3-Clause
"""The slot's worker: takes a task, opens its parcel, calls the function, seals the outcome.

Why compiled: for a no-op this loop is the task's whole cost. Small values never become a pickle, and
the GIL is let go only to wait.

May not know: who asked, what other slots do. Guarantees: each task that was taken gets one outcome,
unless the process dies; what a task raises is an outcome, but SystemExit ends the slot, as it would
end a script; an outcome that cannot be sealed, or is too large, is an error of that task alone.
"""
import os
import sys
from _functools import partial
from _thread import start_new_thread

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strcpy, strdup

from covey.codec.values cimport ARGS, CALL, GUARDED, ITEMS, PARTIAL, VALUES, values_seal, values_unseal
from covey.link.doer cimport (
    TITLE_MAX, Doer, QueuedTask, doer_announce_locked, doer_attend, doer_bye, doer_free, doer_hello, doer_init, doer_listen,
    doer_next_forgotten, doer_next_letter_locked, doer_put_note, doer_put_outcome, doer_put_output, doer_receive_locked,
    doer_take, doer_take_body, doer_take_note)
from covey.link.kin cimport kin_guard
from covey.link.libzmq cimport ZMQ_DEALER, ZMQ_LINGER, ZMQ_RCVHWM, ZMQ_SNDHWM, libzmq_raise, the_context, zmq
from covey.link.post cimport Letter, clock_now, letter_frames
from covey.link.wake cimport wake_drain, wake_ring
from covey.wire.bale cimport Bale, Frame, bale_drop, bale_of_buffers, bale_of_copies, bale_views
from covey.wire.buffer cimport Buffer, buffer_clear, buffer_free, buffer_init, buffer_put
from covey.wire.protocol cimport CPU, ERROR, FINAL, PLANNED, SETUP_FAILED, VALUE, FunctionRecord, Header, NoteRecord
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock

cdef extern from "Python.h":
    object PyObject_CallObject(object function, object arguments)
    int PyErr_CheckSignals() except -1

cdef extern from *:
    """
    #include <errno.h>
    #include <signal.h>
    #include <sys/mman.h>
    #include <unistd.h>
    #ifdef __linux__
    #include <sys/prctl.h>
    static int covey_die_with_parent(int signal) { return prctl(PR_SET_PDEATHSIG, signal); }
    #else
    static int covey_die_with_parent(int signal) { return 0; }
    #endif
    static uint64_t* covey_map_mark(int fd, size_t size) {
        void* at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return at == MAP_FAILED ? 0 : (uint64_t*) at;
    }
    """
    int SIGKILL
    int covey_die_with_parent(int signal) noexcept nogil
    uint64_t* covey_map_mark(int fd, size_t size) noexcept nogil


# Whoever waits for a note looks up this often.
cdef double HEED = 0.3


def die_with_parent(int parent):
    """Asks the kernel to kill this process when the thread that started it ends; dies at once if it already has.

    >>> die_with_parent(os.getppid())                           # doctest: +SKIP
    """
    covey_die_with_parent(SIGKILL)
    if os.getppid() != parent:
        os._exit(70)


cdef int _open_statm() except -2:
    """-1 where there is no such thing: then no slot is over its limit."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


cdef uint64_t _resident(int statm) except? 0:
    return int(os.pread(statm, 100, 0).split()[1]) * <uint64_t> os.sysconf("SC_PAGE_SIZE")


class _Unusable:
    """Stands for a function whose body cannot be loaded here: calling it says why."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *args, **kwargs):
        raise self.error


cdef class Runner:
    """Takes tasks from the broker at `address`, one at a time, until it is told to stop.

    `lifeline` is the reading end of a pipe that the node holds: when that end closes, the process dies.
    `mark` is a file in which the node reads, should the process die, which task ran: its token, and behind it the name of
    its function. `far`: those who ask are other programs than the node's own, so what tasks write is sent with this
    machine's name. `kin` stands in the environment of all that tasks start. `max_rss`: the bytes over which the slot
    leaves, once a task is done; 0: no limit.

    >>> Runner("ipc:///tmp/covey-1-ab/broker", 1, 4711).run()    # doctest: +SKIP
    """

    cdef Doer end
    cdef Buffer scratch
    cdef dict functions
    cdef dict luggage                   # number of a function → the trunks that came with its body, if any
    cdef object worn                    # those that `sys.modules` means now
    cdef object load
    cdef dict streams                   # the namespace of covey.slot.output
    cdef str address
    cdef str host
    cdef bytes sender                   # the host as it goes ahead of what tasks write; b"": the asker's own machine
    cdef uint32_t number
    cdef uint32_t pid
    cdef uint32_t window
    cdef int kind                       # of place, a Resource
    cdef int32_t device
    cdef uint16_t taken                 # of the GPU, by the task that runs, as in TaskRecord
    cdef uint64_t result_limit
    cdef uint64_t tasks_left            # before this slot retires; 0: no limit
    cdef uint64_t max_rss               # after a task; 0: no limit
    cdef uint32_t titled                # the function whose name stands in the mark
    cdef bint final                     # what the current task raised is not to be tried again
    cdef object guard                   # the types after which it may be, sealed; None: any Exception
    cdef bint native
    cdef object link                    # the thread of a link on pyzmq

    def __init__(
            self, str address not None, uint32_t number, uint32_t pid, int kind=CPU, int32_t device=-1, uint32_t window=1024,
            uint64_t result_limit=1 << 30, uint64_t max_tasks=0, bint native=True, int lifeline=-1, int mark=-1,
            double beat_every=2.0, bint far=False, bytes kin=b"", uint64_t max_rss=0):
        cdef uint64_t* mapped
        if doer_init(&self.end) < 0:
            raise OSError("a slot needs a lock and two pipes, and the system gives none: too many open files?")
        buffer_init(&self.scratch)
        self.functions = {}
        self.luggage = {}
        self.address = address
        self.host = os.uname().nodename
        self.sender = self.host.encode()[:255] if far else b""
        self.number = number
        self.pid = pid
        self.window = window
        self.kind = kind
        self.device = device
        self.result_limit = result_limit
        self.tasks_left = max_tasks
        self.max_rss = max_rss
        self.native = native
        self.end.lifeline = lifeline
        self.end.beat_every = beat_every
        if mark >= 0:
            mapped = covey_map_mark(mark, sizeof(uint64_t) + TITLE_MAX)
            if mapped != NULL:
                self.end.mark = mapped
                self.end.title = <char*> (mapped + 1)
        if kin:
            self.end.kin = strdup(<const char*> kin)

    def __dealloc__(self):
        doer_free(&self.end)
        buffer_free(&self.scratch)

    def connect(self):
        """Starts the thread that stands in while tasks run, and says HELLO; does not wait for the answer."""
        cdef bytes host = self.host.encode()[:255]
        cdef const char* name = host
        cdef bytes address = self.address.encode()
        cdef int linger = 2000
        cdef int unlimited = 0
        if self.native:
            self.end.socket = zmq.socket(the_context.take(), ZMQ_DEALER)
            if self.end.socket == NULL:
                libzmq_raise("making the slot's socket")
            zmq.setsockopt(self.end.socket, ZMQ_LINGER, &linger, sizeof(int))
            # The window bounds what comes, and our own queue what goes.
            zmq.setsockopt(self.end.socket, ZMQ_SNDHWM, &unlimited, sizeof(int))
            zmq.setsockopt(self.end.socket, ZMQ_RCVHWM, &unlimited, sizeof(int))
            if zmq.connect(self.end.socket, address) < 0:
                libzmq_raise(f"connecting the slot to {self.address}")
            start_new_thread(self._attend, ())
        else:
            from threading import Thread

            from covey.link.plain import PlainLink

            self.link = Thread(target=PlainLink(self, self.address).run, daemon=True)
            self.link.start()
            if self.end.lifeline >= 0:
                start_new_thread(self._guard, ())
        if self.end.lifeline >= 0:
            # Somebody sees the lifeline close now, and takes along what tasks have started. The kernel would be quicker,
            # and take this process alone.
            covey_die_with_parent(0)
        doer_hello(
            &self.end, self.kind, self.device, sys.version_info[0] << 8 | sys.version_info[1], self.pid, self.number,
            self.window, name, len(host))

    def _attend(self):
        with nogil:
            doer_attend(&self.end)

    def _guard(self):
        with nogil:
            kin_guard(self.end.lifeline, self.end.kin)

    def run(self):
        """Runs tasks until STOP, `max_tasks` or `max_rss`; 0 when it left as planned. SystemExit of a task passes through."""
        from covey.codec.functions import load_function
        from covey.slot import output

        cdef QueuedTask task
        cdef int taken
        cdef uint32_t forgotten
        cdef int statm = _open_statm() if self.max_rss else -1
        self.load = load_function
        self.streams = vars(output)
        while True:
            taken = doer_take(&self.end, &task, False)
            if taken == 0:
                # Nothing to do: time for what nobody waits for.
                while doer_next_forgotten(&self.end, &forgotten):
                    self.functions.pop(forgotten, None)
                    self.luggage.pop(forgotten, None)
                with nogil:
                    taken = doer_take(&self.end, &task, True)
            if taken < 0:
                break
            self._do(&task)
            if self.tasks_left:
                self.tasks_left -= 1
                if self.tasks_left == 0:
                    break
            if statm >= 0 and _resident(statm) > self.max_rss:
                break
        if statm >= 0:
            os.close(statm)
        self._leave(PLANNED, NULL)
        return 0

    cdef int _leave(self, uint32_t reason, Bale* bale) except -1:
        if self.end.refusal:
            raise ConnectionError(f"the broker at {self.address} refuses this slot: {self.end.refusal_text.decode()}")
        with nogil:
            doer_bye(&self.end, reason, bale)
        self.close()
        return 0

    def close(self):
        """Lets what was sent leave, and ends the link."""
        cdef void* socket = self.end.socket
        PyThread_acquire_lock(self.end.lock, 1)
        self.end.closed = True
        self.end.socket = NULL
        PyThread_release_lock(self.end.lock)
        wake_ring(&self.end.attendant_wake)
        if socket != NULL:
            with nogil:
                zmq.close(socket)
            the_context.give_back()
        elif self.link is not None:
            self.link.join()

    @property
    def attempt(self):
        """Which attempt at its task runs now, from 1; 0 while no task runs."""
        # The worker alone writes both, and asks here.
        return self.end.attempt if self.end.current else 0

    @property
    def share(self):
        """What the task that runs takes of the slot's GPU, in 1/10,000; 0: all of it."""
        return self.taken

    def fail_setup(self, bytes error not None):
        """Says BYE because the initializer raised: `error` is the sealed exception. Waits until it is sent."""
        cdef Frame frame
        frame.data = <unsigned char*> PyBytes_AS_STRING(error)
        frame.size = PyBytes_GET_SIZE(error)
        self._leave(SETUP_FAILED, bale_of_copies(&frame, 1))

    def output(self, uint32_t stream, bytes data not None):
        """Sends what the current task printed or logged (see `Stream` in the protocol); from any thread."""
        cdef bytes signed = self.sender + data
        cdef const unsigned char* text = <const unsigned char*> PyBytes_AS_STRING(signed)
        cdef size_t size = PyBytes_GET_SIZE(signed)
        cdef size_t host = PyBytes_GET_SIZE(self.sender)
        with nogil:
            doer_put_output(&self.end, self.end.current, <int> stream, host, text, size)

    def write(self, bytes text not None):
        """A note from the current task to whoever asked for it."""
        cdef const unsigned char* data = <const unsigned char*> PyBytes_AS_STRING(text)
        cdef size_t size = PyBytes_GET_SIZE(text)
        with nogil:
            doer_put_note(&self.end, data, size)

    def hear(self, timeout=None):
        """The next note to the current task; None if there is none within `timeout` seconds, or the task is not wanted
        any more: then nobody will write."""
        cdef double end = INFINITY if timeout is None else clock_now() + timeout
        cdef double wait
        cdef bint over = False
        cdef Bale* note
        cdef NoteRecord* record
        if doer_listen(&self.end) < 0:
            raise OSError("a slot needs a pipe to wait for a note, and the system gives none: too many open files?")
        while True:
            # In pieces: a signal's handler runs between them.
            wait = max(0.0, min(HEED, end - clock_now()))
            with nogil:
                note = doer_take_note(&self.end, wait, &over)
            if note != NULL:
                try:
                    record = <NoteRecord*> (note.frames[0].data + sizeof(Header))
                    return (<const char*> (record + 1))[:record.length]
                finally:
                    bale_drop(note)
            PyErr_CheckSignals()
            if over or clock_now() >= end:
                return None

    cdef object _function(self, uint32_t number):
        cdef Bale* bale = doer_take_body(&self.end, number)
        cdef FunctionRecord* record
        cdef object function
        if bale != NULL:
            try:
                record = <FunctionRecord*> (bale.frames[0].data + sizeof(Header))
                function = self.load(
                    (<const char*> (record + 1))[:record.length], bale_views(bale, 1) or (), partial(self._unpack, number),
                    self._set_up)
            except Exception as error:
                function = _Unusable(error)
            finally:
                bale_drop(bale)
            self.functions[number] = function
            # The number may have meant another one.
            self.titled = 0
        else:
            function = self.functions.get(number)
            if function is None:
                function = _Unusable(RuntimeError(
                    f"slot {self.number} was given a task of function {number} without its body; this is a defect of covey"))
        return function

    def _unpack(self, number, tags, blobs):
        from covey.slot.worlds import receive

        self.worn = self.luggage[number] = receive(tags, blobs)

    def _set_up(self, *setup):
        from covey.slot.setups import set_up

        set_up(*setup)

    cdef int _wear(self, uint32_t number) except -1:
        cdef object luggage = self.luggage.get(number)
        if luggage is not None and luggage is not self.worn:
            from covey.slot.worlds import wear

            wear(luggage)
            self.worn = luggage
        return 0

    cdef int _entitle(self, uint32_t number, object function) except -1:
        cdef object name
        try:
            name = getattr(function, "__qualname__", None)
        except Exception:
            # Its attributes are the user's own code, and a name for the log is no reason for a call to fail.
            name = None
        cdef bytes title = (name if type(name) is str else type(function).__qualname__).encode(errors="replace")
        strcpy(self.end.title, title[:TITLE_MAX - 1])
        self.titled = number
        return 0

    cdef int _do(self, QueuedTask* task) except -1:
        cdef unsigned char* parcel = task.bale.frames[0].data + task.offset
        cdef double start = clock_now()
        cdef double spent
        cdef int status = VALUE
        cdef Bale* extra = NULL
        cdef object function = None
        cdef object value = None
        cdef object arguments
        cdef object buffers
        cdef list results
        cdef int form
        cdef uint32_t length = task.length
        self.taken = task.share
        self.final = False
        if self.guard is not None:
            self.guard = None
        buffer_clear(&self.scratch)
        try:
            try:
                if self.end.fresh == 0:
                    function = self.functions.get(task.function)
                if function is None:
                    function = self._function(task.function)
                if self.luggage:
                    self._wear(task.function)
                if task.function != self.titled and self.end.title != NULL:
                    self._entitle(task.function, function)
                if length > 5 and parcel[0] == GUARDED:
                    length = self._take_guard(parcel, length)
                    parcel += task.length - length
                form = parcel[0] if length else 0
                arguments = values_unseal(parcel, length, bale_views(task.bale, 1))
            finally:
                bale_drop(task.bale)
            if form == VALUES or form == ARGS:
                value = PyObject_CallObject(function, arguments)
                form = ARGS
            elif form == CALL:
                value = function(*arguments[0], **arguments[1])
                form = ARGS
            else:
                results = []
                try:
                    if form == ITEMS:
                        for item in <list> arguments:
                            results.append(function(item))
                    else:
                        for item in <list> arguments:
                            results.append(PyObject_CallObject(function, item))
                except BaseException as error:
                    value = (results, self._error(error))
                    if self.final and isinstance(error, SystemExit):
                        raise
                    status = ERROR
                    form = PARTIAL
                else:
                    form = ITEMS
                    value = results
            buffers = self._seal(form, value, function, &status)
            if buffers is not None:
                extra = bale_of_buffers(buffers)
        except BaseException as error:
            status = ERROR
            self._put_error(error)
            if self.final and isinstance(error, SystemExit):
                raise
        spent = clock_now() - start
        if self.streams["pending"]:
            self.streams["flush"]()
        doer_put_outcome(
            &self.end, task.ticket, status, FINAL if self.final else 0, <uint32_t> min(spent * 1e6, 4e9),
            self.scratch.data, self.scratch.used, extra)
        return 0

    cdef uint32_t _take_guard(self, const unsigned char* parcel, uint32_t length) except 0:
        """Keeps the guard of a parcel; how long the rest of it is."""
        cdef uint32_t size
        memcpy(&size, parcel + 1, 4)
        if size >= length - 5:
            raise ValueError("a task came with a parcel that cannot be read; this is a defect of covey")
        self.guard = (<const char*> parcel + 5)[:size]
        return length - 5 - size

    cdef bint _is_final(self, object error) except -1:
        if self.guard is None:
            return not isinstance(error, Exception)
        from covey.codec.retriable import opened

        try:
            return not isinstance(error, opened(self.guard))
        except Exception as odd:
            error.add_note(f"covey: it was not tried again, because the types of retry_on= cannot be loaded here ({odd!r})")
            return True

    cdef object _seal(self, int form, object value, object function, int* status):
        """The value into the scratch buffer; an error in its place if it cannot or may not travel."""
        cdef object buffers
        cdef uint64_t size
        try:
            buffers = values_seal(&self.scratch, form, value, None, None)
        except BaseException as error:
            from covey.codec.functions import callable_name
            from covey.codec.outcome import not_picklable_result

            name = callable_name(function)
            status[0] = ERROR
            self._put_error(not_picklable_result(value, error, name))
            return None
        size = self.scratch.used
        if buffers is not None:
            for buffer in buffers:
                size += memoryview(buffer).nbytes
        if size > self.result_limit:
            from covey.codec.functions import callable_name
            from covey.errors import ResultTooLarge

            name = callable_name(function)
            status[0] = ERROR
            self._put_error(ResultTooLarge(f"the result of {name}", size, self.result_limit))
            return None
        return buffers

    cdef object _error(self, object error):
        from covey.codec.outcome import seal_error

        self.final = self._is_final(error)
        return seal_error(error, f"slot {self.number} (pid {self.pid} on {self.host})")

    cdef int _put_error(self, object error) except -1:
        cdef bytes sealed = self._error(error)
        buffer_clear(&self.scratch)
        return buffer_put(&self.scratch, PyBytes_AS_STRING(sealed), PyBytes_GET_SIZE(sealed))

    # The doors of the link on pyzmq.

    @property
    def wake_fd(self):
        """A file descriptor that is readable when there may be letters to send."""
        return self.end.attendant_wake.ends[0]

    def feed(self, list frames not None):
        """Takes in one message, and wakes the worker."""
        cdef Frame copies[64]
        cdef uint32_t count = len(frames)
        cdef uint32_t i
        cdef Bale* bale
        if count > 64 or count == 0:
            bale = bale_of_buffers(frames)
        else:
            for i in range(count):
                copies[i].data = <unsigned char*> PyBytes_AS_STRING(frames[i])
                copies[i].size = PyBytes_GET_SIZE(frames[i])
            bale = bale_of_copies(copies, count)
        if bale == NULL:
            return
        PyThread_acquire_lock(self.end.lock, 1)
        doer_receive_locked(&self.end, bale)
        PyThread_release_lock(self.end.lock)
        wake_ring(&self.end.worker_wake)

    @property
    def closed(self):
        """Whether the end is closed."""
        return self.end.closed

    def letters(self):
        """What is to be sent, each message as a list of frames."""
        cdef Letter* letter
        cdef list found = []
        wake_drain(&self.end.attendant_wake)
        while True:
            PyThread_acquire_lock(self.end.lock, 1)
            doer_announce_locked(&self.end, clock_now())
            letter = doer_next_letter_locked(&self.end)
            PyThread_release_lock(self.end.lock)
            if letter == NULL:
                return found
            found.append(letter_frames(letter))

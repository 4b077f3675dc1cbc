# SPDX-License-Identifier: BSD-3-Clause
"""Whether a function is still what was sent: asked at every submit, answered in nanoseconds.

Why: a function travels once, but a user may rebind a variable that it uses and submit it again, and
expects the new value to count. `Watch` remembers what the function, and whatever travelled inside
its body, referred to; comparing identities is a few pointer reads a name.

May not know: how a function is sealed, sockets. Guarantees: a rebound cell, global, default or code is noticed (a
container changed in place is not). No user's function is kept alive, unless something that cannot
be referred to weakly (a list, a dict) holds it. Needs the GIL; any thread.
"""
from cpython.object cimport PyObject

cdef struct Seen:
    PyObject* function          # whose; borrowed, alive as long as no alarm was rung
    PyObject* name              # of a global; NULL for anything else
    Py_ssize_t place            # of a cell in the closure; below 0: one of Part
    PyObject* value             # what it was: kept alive, or its death rings the alarm. NULL: there was none

cdef class Alarm:
    cdef bint rung

cdef class Watch:
    cdef Alarm alarm
    cdef Seen* seen
    cdef Py_ssize_t count
    cdef Py_ssize_t room
    cdef list kept              # weak references with the alarm, names, and values that allow no weak reference
    cdef int add(self, object function, PyObject* name, Py_ssize_t place, PyObject* value) except -1
    cdef bint same(self) noexcept

# One function as it goes to the slots. Its end (nobody submits it any more) is told to `on_forget`.
cdef class Function:
    cdef readonly int number    # from 1, never used twice in one book
    cdef readonly bytes digest  # 16 bytes over body and buffers
    cdef public object body     # bytes; may be set to None once it is sent
    cdef public list buffers    # out-of-band buffers of the body: views of the user's own arrays
    cdef readonly str name      # for messages
    cdef public object packing  # what it takes to seal it with more modules; None if its body brings none
    cdef object on_forget
    cdef object __weakref__

cdef class Known:
    cdef object reference       # weak; strong for builtins that allow none
    cdef Function function
    cdef Watch watch            # None: nothing to watch

cdef class FunctionCache:
    cdef dict known             # address of a callable → Known; an entry goes when the callable dies
    cdef PyObject* last         # the callable found last, valid while `last_known` is set
    cdef Known last_known
    cdef public bint shipping       # bodies bring the user's own modules along: their files must be looked at
    cdef public Function caller     # of call_object: stands for callables that have a state of their own
    # The Function of a callable, the same as last time unless something was rebound. If it is
    # `self.caller`, pass the callable as first argument: its state is then sealed at each submit.
    cpdef Function find(self, object function)

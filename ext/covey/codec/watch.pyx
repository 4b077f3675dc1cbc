# SPDX-License-Identifier: BSD-3-Clause
"""See watch.pxd, the contents page."""
import weakref
from functools import partial as _partial
from types import CodeType, FunctionType, MethodType

from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_FromVoidPtr
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM

cdef extern from "Python.h":
    PyObject* PyFunction_GET_CODE(PyObject* function)
    PyObject* PyFunction_GET_GLOBALS(PyObject* function)
    PyObject* PyFunction_GET_DEFAULTS(PyObject* function)
    PyObject* PyFunction_GET_KW_DEFAULTS(PyObject* function)
    PyObject* PyFunction_GET_CLOSURE(PyObject* function)
    PyObject* PyCell_GET(PyObject* cell)

# What `place` says when it is no cell.
cdef enum Part:
    CODE = -1
    DEFAULTS = -2
    KW_DEFAULTS = -3

cdef frozenset _GLOBAL_OPS = frozenset(("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"))


cdef class Alarm:
    """Rung when something that a watch relies on dies."""

    def __call__(self, reference):
        self.rung = True


cdef inline PyObject* _current(Seen* seen) noexcept:
    """What the function refers to there now. Borrowed; NULL: nothing."""
    if seen.name != NULL:
        return PyDict_GetItem(<object> PyFunction_GET_GLOBALS(seen.function), <object> seen.name)
    if seen.place >= 0:
        return PyCell_GET(<PyObject*> PyTuple_GET_ITEM(<object> PyFunction_GET_CLOSURE(seen.function), seen.place))
    if seen.place == CODE:
        return PyFunction_GET_CODE(seen.function)
    if seen.place == DEFAULTS:
        return PyFunction_GET_DEFAULTS(seen.function)
    return PyFunction_GET_KW_DEFAULTS(seen.function)


cdef _global_names(code, set names):
    import dis                  # a slot loads this module too, and never needs it
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_OPS:
            names.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _global_names(constant, names)


cdef class Watch:
    """Watches every function of a list; make it right after sealing them."""

    def __init__(self, functions):
        cdef set names
        cdef Py_ssize_t i
        cdef Seen seen
        self.alarm = Alarm()
        self.kept = []
        for function in functions:
            if type(function) is not FunctionType:
                continue
            self.kept.append(weakref.ref(function, self.alarm))
            seen.function = <PyObject*> function
            seen.name = NULL
            for i in range(KW_DEFAULTS, len(function.__closure__ or ())):
                seen.place = i
                self.add(function, NULL, i, _current(&seen))
            names = set()
            _global_names(function.__code__, names)
            for name in names:
                self.kept.append(name)
                seen.name = <PyObject*> name
                self.add(function, seen.name, 0, _current(&seen))

    cdef int add(self, object function, PyObject* name, Py_ssize_t place, PyObject* value) except -1:
        cdef Seen* seen
        if self.count == self.room:
            seen = <Seen*> PyMem_Realloc(self.seen, (self.room * 2 + 8) * sizeof(Seen))
            if seen == NULL:
                raise MemoryError()
            self.seen = seen
            self.room = self.room * 2 + 8
        if value != NULL:
            try:
                self.kept.append(weakref.ref(<object> value, self.alarm))
            except TypeError:
                self.kept.append(<object> value)
        seen = self.seen + self.count
        seen.function = <PyObject*> function
        seen.name = name
        seen.place = place
        seen.value = value
        self.count += 1
        return 0

    cdef bint same(self) noexcept:
        cdef Py_ssize_t i
        if self.alarm.rung:
            return False
        for i in range(self.count):
            if _current(self.seen + i) != self.seen[i].value:
                return False
        return True

    def unchanged(self):
        """Whether nothing was rebound since.

        >>> Watch([]).unchanged()
        True
        """
        return self.same()

    def __dealloc__(self):
        PyMem_Free(self.seen)


cdef class Function:
    """One function as it goes to the slots; made by a FunctionBook."""

    def __init__(self, int number, bytes digest, bytes body, list buffers, str name, on_forget):
        self.number = number
        self.digest = digest
        self.body = body
        self.buffers = buffers
        self.name = name
        self.on_forget = on_forget

    def __repr__(self):
        return f"<Function {self.number} {self.name} {self.digest.hex()[:8]}>"

    def __del__(self):
        # From any thread, at any time, even while the interpreter goes: nobody could catch an error.
        try:
            if self.on_forget is not None:
                self.on_forget(self.number)
        except BaseException:
            pass


cdef class Known:
    pass


cdef class FunctionCache:
    """Which Function a callable is; the book that fills it is `covey.codec.functions.FunctionBook`."""

    def __cinit__(self):
        self.known = {}

    cpdef Function find(self, object function):
        cdef Known known
        if <PyObject*> function == self.last:
            known = self.last_known
        else:
            if type(function) is MethodType or type(function) is _partial:
                return self.caller
            known = self.known.get(PyLong_FromVoidPtr(<PyObject*> function))
        if known is not None and (known.watch is None or known.watch.same()):
            if not self.shipping or self.is_packed(known.function):
                self.last_known = known
                self.last = <PyObject*> function
                return known.function
        return self.learn(function)

    def learn(self, function):
        """Seals a callable that is new or changed; the book overrides it."""
        raise NotImplementedError

    def is_packed(self, Function sealed):
        """Whether the modules that travel with it are still what they were; the book overrides it."""
        raise NotImplementedError

    def equip(self, Function sealed, set references):
        """The same function with all modules that an argument refers to; the book overrides it."""
        raise NotImplementedError

    def remember(self, function, Function sealed, Watch watch):
        """Keeps `sealed` as what `find` says of a callable, for as long as the callable lives."""
        cdef Known known = Known.__new__(Known)
        key = PyLong_FromVoidPtr(<PyObject*> function)
        try:
            known.reference = weakref.ref(function, _partial(self._gone, key))
        except TypeError:
            known.reference = function
        known.function = sealed
        known.watch = watch
        self.last = NULL
        self.known[key] = known

    def _gone(self, key, reference):
        # A weak reference of an earlier `remember` also calls: both mean the same dead callable.
        self.last = NULL
        self.last_known = None
        self.known.pop(key, None)

    def clear(self):
        """Forgets every callable; each Function that nobody else holds is told to `on_forget`."""
        self.last = NULL
        self.last_known = None
        self.known.clear()

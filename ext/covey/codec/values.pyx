# SPDX-License-Identifier: BSD-3-Clause
"""See values.pxd, the contents page."""
import sys
from _pickle import dumps as _dumps
from _pickle import loads as _loads

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_CheckExact
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.complex cimport PyComplex_CheckExact
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact, PyLong_FromLongLong
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from covey.wire.buffer cimport Buffer, buffer_free, buffer_init, buffer_reserve

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bytes PyUnicode_AsUTF8String(object text)
    object PyMemoryView_FromMemory(char* data, Py_ssize_t size, int flags)
    bint PyAnySet_CheckExact(object value)

# Bounds of what gets tags. Beyond them a pickle is no slower, and a bound keeps a hostile parcel from
# building deep nests. Wider tuples than COUNT_LIMIT would not fit their count byte for long.
cdef enum:
    COUNT_LIMIT = 16
    DEPTH_LIMIT = 4
    SIZE_LIMIT = 65536
# Bounds of the scan: over SCAN_LIMIT things, the fixed cost of the careful pickler no longer shows.
cdef enum:
    SCAN_LIMIT = 512
    SCAN_DEPTH = 16
    OUT_OF_BAND = 16384         # a buffer this large travels beside the pickle; parcel.py has the same number

cdef dict _modules = sys.modules
cdef object _ndarray = None     # numpy.ndarray once somebody has imported numpy; we never do
cdef frozenset _scalars = frozenset()
cdef object _parcel = None      # covey.codec.parcel, imported when first needed


cdef inline unsigned char* _room(Buffer* out, size_t size) except NULL:
    cdef unsigned char* at
    if out.room - out.used >= size:
        at = out.data + out.used
    else:
        at = buffer_reserve(out, size)
        if at == NULL:
            raise MemoryError()
    out.used += size
    return at


cdef inline int _run(Buffer* out, size_t limit, int tag, const void* data, size_t size) except -2:
    cdef unsigned char* at
    cdef uint32_t length
    if size > SIZE_LIMIT or out.used + size > limit:
        return 0
    length = <uint32_t> size
    at = _room(out, 5 + size)
    at[0] = <unsigned char> tag
    memcpy(at + 1, &length, 4)
    memcpy(at + 5, data, size)
    return 1


cdef int _text(Buffer* out, size_t limit, object value) except -2:
    cdef bytes encoded
    if PyUnicode_IS_ASCII(value):
        return _run(out, limit, TAG_STR, PyUnicode_DATA(value), PyUnicode_GET_LENGTH(value))
    # Not PyUnicode_AsUTF8AndSize: it would leave a second copy of the text with the user's string.
    if PyUnicode_GET_LENGTH(value) > SIZE_LIMIT:
        return 0
    try:
        encoded = PyUnicode_AsUTF8String(value)
    except UnicodeEncodeError:
        return 0                # lone surrogates: pickle keeps them, UTF-8 does not
    return _run(out, limit, TAG_STR, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cdef int _encode(Buffer* out, size_t limit, object value, int depth) except -2:
    cdef unsigned char* at
    cdef int64_t number
    cdef double real
    cdef int overflow
    cdef Py_ssize_t count
    cdef Py_ssize_t i
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return 0
        if -128 <= number <= 127:
            at = _room(out, 2)
            at[0] = TAG_SMALL
            at[1] = <unsigned char> number
            return 1
        at = _room(out, 9)
        at[0] = TAG_INT
        memcpy(at + 1, &number, 8)
        return 1
    if PyTuple_CheckExact(value):
        count = PyTuple_GET_SIZE(value)
        if count > COUNT_LIMIT or depth == 0 or out.used > limit:
            return 0
        at = _room(out, 2)
        at[0] = TAG_TUPLE
        at[1] = <unsigned char> count
        for i in range(count):
            if _encode(out, limit, <object> PyTuple_GET_ITEM(value, i), depth - 1) == 0:
                return 0
        return 1
    if PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        at = _room(out, 9)
        at[0] = TAG_FLOAT
        memcpy(at + 1, &real, 8)
        return 1
    if PyUnicode_CheckExact(value):
        return _text(out, limit, value)
    if value is None or value is True or value is False:
        at = _room(out, 1)
        at[0] = TAG_NONE if value is None else TAG_TRUE if value is True else TAG_FALSE
        return 1
    if PyBytes_CheckExact(value):
        return _run(out, limit, TAG_BYTES, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return 0


cdef int values_encode(Buffer* out, object value) except -2:
    cdef size_t start = out.used
    cdef int taken
    try:
        taken = _encode(out, start + SIZE_LIMIT, value, DEPTH_LIMIT)
    except BaseException:
        out.used = start
        raise
    if not taken:
        out.used = start
    return taken


cdef int _malformed() except -1:
    raise ValueError("these bytes are no covey values: they were damaged, or written by something else")


cdef object _decode(const unsigned char** cursor, const unsigned char* end, int depth):
    cdef const unsigned char* at = cursor[0]
    cdef int tag
    cdef size_t left
    cdef uint32_t length
    cdef int64_t number
    cdef double real
    cdef Py_ssize_t count
    cdef Py_ssize_t i
    cdef object item
    cdef tuple items
    if at >= end:
        _malformed()
    tag = at[0]
    at += 1
    left = end - at
    if tag == TAG_SMALL:
        if left < 1:
            _malformed()
        cursor[0] = at + 1
        return PyLong_FromLongLong(<signed char> at[0])
    if tag == TAG_INT:
        if left < 8:
            _malformed()
        memcpy(&number, at, 8)
        cursor[0] = at + 8
        return PyLong_FromLongLong(number)
    if tag == TAG_TUPLE:
        if left < 1 or at[0] > COUNT_LIMIT or depth == 0:
            _malformed()
        count = at[0]
        cursor[0] = at + 1
        if count == 0:
            return ()
        items = PyTuple_New(count)
        for i in range(count):
            item = _decode(cursor, end, depth - 1)
            Py_INCREF(item)
            PyTuple_SET_ITEM(items, i, item)
        return items
    if tag == TAG_FLOAT:
        if left < 8:
            _malformed()
        memcpy(&real, at, 8)
        cursor[0] = at + 8
        return PyFloat_FromDouble(real)
    if tag == TAG_STR or tag == TAG_BYTES:
        if left < 4:
            _malformed()
        memcpy(&length, at, 4)
        at += 4
        if left - 4 < length:
            _malformed()
        cursor[0] = at + length
        if tag == TAG_BYTES:
            return PyBytes_FromStringAndSize(<const char*> at, length)
        return PyUnicode_DecodeUTF8(<char*> at, length, NULL)
    cursor[0] = at
    if tag == TAG_NONE:
        return None
    if tag == TAG_TRUE:
        return True
    if tag == TAG_FALSE:
        return False
    _malformed()


cdef object values_decode(const unsigned char* data, size_t size):
    cdef const unsigned char* at = data
    cdef object value = _decode(&at, data + size, DEPTH_LIMIT)
    if at != data + size:
        _malformed()
    return value


cdef int _meet_numpy() noexcept:
    """Learns numpy's types if somebody has imported it. 1 if they are known."""
    global _ndarray, _scalars
    if _ndarray is not None:
        return 1
    module = _modules.get("numpy")
    if module is None:
        return 0
    try:
        _scalars = frozenset([
            module.bool_, module.int8, module.int16, module.int32, module.int64, module.uint8, module.uint16,
            module.uint32, module.uint64, module.float16, module.float32, module.float64, module.complex64,
            module.complex128])
        _ndarray = module.ndarray
        return 1
    except Exception:
        return 0                # still being imported by another thread


cdef int _scan_array(object value) noexcept:
    try:
        dtype = value.dtype
        # Other kinds, and metadata, may hold objects of any sort.
        if dtype.kind not in "biufcSUmM" or dtype.metadata is not None:
            return 0
        if value.nbytes < OUT_OF_BAND:
            return 1
        # The careful pickler makes one contiguous copy where numpy's own reduction would make three.
        return 2 if value.flags.forc else 0
    except Exception:
        return 0


cdef int _scan_set(object value, int depth, int* left) noexcept:
    cdef int found = 1
    cdef int one
    try:
        for item in value:
            one = _scan(item, depth, left)
            if one == 0:
                return 0
            found |= one
    except Exception:
        return 0
    return found


cdef int _scan(object value, int depth, int* left) noexcept:
    """Bits of what was found: 0 no, else 1, and 2 if there are large arrays."""
    cdef Py_ssize_t i = 0
    cdef PyObject* key
    cdef PyObject* item
    cdef int found = 1
    cdef int one
    left[0] -= 1
    if left[0] < 0:
        return 0
    if PyUnicode_CheckExact(value) or PyLong_CheckExact(value) or PyFloat_CheckExact(value) or value is None:
        return 1
    if value is True or value is False or PyBytes_CheckExact(value):
        return 1
    if PyByteArray_CheckExact(value) or PyComplex_CheckExact(value):
        return 1
    if PyDict_CheckExact(value):
        if depth == 0:
            return 0
        while PyDict_Next(value, &i, &key, &item):
            one = _scan(<object> key, depth - 1, left)
            if one:
                found |= one
                one = _scan(<object> item, depth - 1, left)
                found |= one
            if one == 0:
                return 0
        return found
    if PyList_CheckExact(value):
        if depth == 0:
            return 0
        for i in range(PyList_GET_SIZE(value)):
            one = _scan(<object> PyList_GET_ITEM(value, i), depth - 1, left)
            if one == 0:
                return 0
            found |= one
        return found
    if PyTuple_CheckExact(value):
        if depth == 0:
            return 0
        for i in range(PyTuple_GET_SIZE(value)):
            one = _scan(<object> PyTuple_GET_ITEM(value, i), depth - 1, left)
            if one == 0:
                return 0
            found |= one
        return found
    if PyAnySet_CheckExact(value):
        return _scan_set(value, depth - 1, left) if depth else 0
    if _meet_numpy():
        if type(value) is _ndarray:
            return _scan_array(value)
        if type(value) in _scalars:
            return 1
    return 0


cdef int values_plain(object value, int depth) noexcept:
    cdef int left = SCAN_LIMIT
    cdef int found = _scan(value, depth, &left)
    return 2 if found & 2 else found


cdef class _Gather:
    """pickle's buffer_callback: takes large buffers, leaves small ones in the pickle."""

    cdef list buffers

    def __call__(self, buffer):
        if memoryview(buffer).nbytes < OUT_OF_BAND:
            return True
        self.buffers.append(buffer)
        return False


cdef object _careful():
    global _parcel
    if _parcel is None:
        from covey.codec import parcel as _parcel
    return _parcel


cdef bytes _pickled(object value, int form, object describe, list buffers, set references):
    cdef _Gather gather
    cdef int plain = values_plain(value, SCAN_DEPTH)
    if plain == 1:
        return _dumps(value, 5)
    if plain == 2:
        gather = _Gather.__new__(_Gather)
        gather.buffers = buffers
        return _dumps(value, 5, buffer_callback=gather)
    if describe is None:
        data, large = _careful().seal(value)
    else:
        data, large = _careful().seal_args(form, value, describe, 0, references)
    buffers += large
    return data


cdef object values_seal(Buffer* out, int form, object value, object describe, set references):
    cdef size_t start = out.used
    cdef unsigned char* at
    cdef bytes data
    cdef list buffers
    try:
        if form == ARGS:
            at = _room(out, 1)
            at[0] = VALUES
            if _encode(out, start + SIZE_LIMIT, value, DEPTH_LIMIT):
                return None
            out.used = start
        buffers = []
        data = _pickled(value, form, describe, buffers, references)
        at = _room(out, 1 + PyBytes_GET_SIZE(data))
    except BaseException:
        out.used = start
        raise
    at[0] = <unsigned char> form
    memcpy(at + 1, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return buffers or None


cdef object values_unseal(const unsigned char* data, size_t size, object buffers):
    cdef object view
    if size == 0:
        _malformed()
    if data[0] == VALUES:
        return values_decode(data + 1, size - 1)
    if data[0] > PARTIAL or data[0] == 0:
        _malformed()
    # pickle copies whatever it keeps of the bytes, so the view does not outlive them.
    view = PyMemoryView_FromMemory(<char*> data + 1, size - 1, PyBUF_READ)
    try:
        if buffers is None:
            return _loads(view)
        return _loads(view, buffers=buffers)
    except (ImportError, AttributeError) as error:
        raise _careful().explained(error)


# The Python view of the page, for tests and for code that is not compiled.

FORMS = {
    "VALUES": VALUES, "ARGS": ARGS, "CALL": CALL, "ITEMS": ITEMS, "STAR": STAR, "PARTIAL": PARTIAL, "RAISED": RAISED,
}


def encode(value):
    """The tags of a value, or None if it has none.

    >>> decode(encode((1, "a", None)))
    (1, 'a', None)
    """
    cdef Buffer out
    buffer_init(&out)
    try:
        if not values_encode(&out, value):
            return None
        return out.data[:out.used]
    finally:
        buffer_free(&out)


def decode(data):
    """The value whose tags these are; ValueError if they are not."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return values_decode(<const unsigned char*> view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


def plain(value):
    """Whether plain pickle is right for a value, as `values_plain` says it.

    >>> plain({"a": [1, 2]}), plain(object())
    (1, 0)
    """
    return values_plain(value, SCAN_DEPTH)


def seal(int form, value, describe=None, references=None):
    """A whole parcel with its form byte, and its out-of-band buffers.

    >>> unseal(*seal(FORMS["ARGS"], ({"a": 1},)))
    ({'a': 1},)
    """
    cdef Buffer out
    buffer_init(&out)
    try:
        buffers = values_seal(&out, form, value, describe, references)
        return out.data[:out.used], buffers or []
    finally:
        buffer_free(&out)


def unseal(data, buffers=None):
    """What is in a parcel that `seal` made."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return values_unseal(<const unsigned char*> view.buf, view.len, buffers)
    finally:
        PyBuffer_Release(&view)

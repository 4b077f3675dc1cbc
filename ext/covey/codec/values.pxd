# SPDX-License-Identifier: BSD-3-Clause
"""Small builtin values as bytes, and the fast way into and out of a parcel.

Why: most arguments and results are a few numbers and short strings. For those a pickle costs ten
times what a tag and a memcpy cost; for plain dicts and lists the C pickle is right and a careful
pickler only slower. This page decides which of the three a thing gets, and never by an exception.

May not know: tasks, functions, sockets. What the careful pickler does is `covey.codec.parcel`'s.
Guarantees: only *exact* types are taken (an IntEnum or a namedtuple keeps its type, by pickle);
the decoder checks every bound, so arbitrary bytes give ValueError, never a crash. A function that
fails or declines leaves the buffer as it was. All of it needs the GIL.
"""
from covey.wire.buffer cimport Buffer

# Form: the first byte of a parcel and of an outcome's payload. Given for ever, like the protocol's numbers.
cdef enum Form:
    VALUES = 1                  # tags: the tuple of arguments (task) or the value (outcome)
    ARGS = 2                    # pickle of the tuple of arguments (task) or of the value (outcome)
    CALL = 3                    # pickle of (args, kwargs)
    ITEMS = 4                   # pickle of a list of single arguments (task) or of their results (outcome)
    STAR = 5                    # pickle of a list of argument tuples
    PARTIAL = 6                 # outcome ERROR: pickle of (results before, sealed error)
    RAISED = 7                  # outcome ERROR: an error sealed by covey.codec.outcome
    GUARDED = 8                 # task: four bytes of length, the types sealed by covey.codec.retriable, another form's parcel

# Tag: the first byte of each value under VALUES. Numbers are little-endian.
cdef enum Tag:
    TAG_NONE = 0
    TAG_FALSE = 1
    TAG_TRUE = 2
    TAG_SMALL = 3               # int in one signed byte
    TAG_INT = 4                 # int in eight bytes
    TAG_FLOAT = 5               # eight bytes, every NaN as it is
    TAG_STR = 6                 # four bytes of length, UTF-8
    TAG_BYTES = 7               # four bytes of length, bytes
    TAG_TUPLE = 8               # one byte of count, then so many values

# Appends the tags of `value` (no form byte): 1; or 0 if it has none, or too much of it.
cdef int values_encode(Buffer* out, object value) except -2
# The value that `values_encode` wrote. ValueError for anything else.
cdef object values_decode(const unsigned char* data, size_t size)
# Whether plain C pickle stores all of it by value: 0 no (or too big to tell), 1 yes, 2 yes, and it
# holds large arrays that should travel out of band. Looks at most `depth` containers deep.
cdef int values_plain(object value, int depth) noexcept
# Appends form byte and parcel; returns the out-of-band buffers, or None if there are none. With form
# ARGS it tries VALUES first. `describe` is None (errors come as pickle raised them) or the name of the
# function that the arguments are for (errors come as NotPicklable, naming the argument).
cdef object values_seal(Buffer* out, int form, object value, object describe, set references)
# What is in a parcel (form byte included); `data[0]` tells the form. `buffers` is None or a sequence of
# writable buffers. Nothing that it returns points into `data`. A missing module raises ModuleMissing.
cdef object values_unseal(const unsigned char* data, size_t size, object buffers)

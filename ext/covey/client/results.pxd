# SPDX-License-Identifier: BSD-3-Clause
"""The iterator that a map returns: items out of lists, at the speed of C.

Why: `itertools.chain` would do, but a list that is being walked keeps what was already handed out; an
item of 100 MB would stay until the last of its bundle is gone.

May not know: futures, bundles. It walks a generator of lists and closes it.
Guarantees: an item that was handed out is referred to by nobody here; when the iterator is closed or
dropped midway, so is the generator.
"""

cdef class Results:
    cdef object lists           # generator of lists; None when it is over
    cdef list now               # the list being emptied; what was handed out is None in it
    cdef Py_ssize_t at          # the next item of `now`
    cdef object __weakref__

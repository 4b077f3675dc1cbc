# SPDX-License-Identifier: BSD-3-Clause
"""See results.pxd, the contents page."""
cimport cython
from cpython.list cimport PyList_GET_SIZE


cdef extern from *:
    """
    /* Takes over the list's reference; the place holds None afterwards, so the list stays whole. */
    static PyObject* covey_move_out(PyObject* list, Py_ssize_t at) {
        PyObject* item = PyList_GET_ITEM(list, at);
        Py_INCREF(Py_None);
        PyList_SET_ITEM(list, at, Py_None);
        return item;
    }
    """
    object covey_move_out(object items, Py_ssize_t at)


@cython.final
cdef class Results:
    """The results of a map, in order or as they come."""

    def __init__(self, lists):
        self.lists = lists

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            # the length is asked each time: another thread may walk the same iterator
            if self.now is not None:
                if self.at < PyList_GET_SIZE(self.now):
                    self.at += 1
                    return covey_move_out(self.now, self.at - 1)
                self.now = None
            if self.lists is None:
                raise StopIteration
            try:
                items = next(self.lists)
            except BaseException:
                # over, by its end or by an error: a generator that has raised only says StopIteration afterwards
                self.lists = None
                raise
            self.at = 0
            self.now = items

    def close(self):
        """Give up what was not handed out yet; the calls behind it are cancelled.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     results = client.map(str, range(1000))
        ...     first = next(results)
        ...     results.close()
        >>> first
        '0'
        """
        lists, self.lists, self.now = self.lists, None, None
        if lists is not None:
            lists.close()

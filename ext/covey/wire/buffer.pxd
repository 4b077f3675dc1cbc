# SPDX-License-Identifier: BSD-3-Clause
"""A growing run of bytes, the one way covey builds a frame.

Ownership: whoever calls `buffer_init` frees it with `buffer_free`, unless `buffer_surrender` has
passed the memory on; then the new owner frees it with libc's `free`. No lock: one thread at a time.
"""
from libc.stdint cimport uint32_t

cdef struct Buffer:
    unsigned char* data         # NULL until the first reserve
    size_t used
    size_t room

cdef void buffer_init(Buffer* self) noexcept nogil
cdef void buffer_free(Buffer* self) noexcept nogil
cdef void buffer_clear(Buffer* self) noexcept nogil
# Room for `size` more bytes; returns where they go, or NULL when memory is out. `used` is unchanged.
cdef unsigned char* buffer_reserve(Buffer* self, size_t size) noexcept nogil
# Copies `size` bytes to the end. 0, or -1 when memory is out.
cdef int buffer_put(Buffer* self, const void* data, size_t size) noexcept nogil
# Hands the memory to the caller and starts afresh.
cdef unsigned char* buffer_surrender(Buffer* self, size_t* size) noexcept nogil

# SPDX-License-Identifier: BSD-3-Clause
"""See buffer.pxd, the contents page."""
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef void buffer_init(Buffer* self) noexcept nogil:
    self.data = NULL
    self.used = 0
    self.room = 0


cdef void buffer_free(Buffer* self) noexcept nogil:
    free(self.data)
    buffer_init(self)


cdef void buffer_clear(Buffer* self) noexcept nogil:
    self.used = 0


cdef unsigned char* buffer_reserve(Buffer* self, size_t size) noexcept nogil:
    cdef size_t need = self.used + size
    cdef size_t room
    cdef unsigned char* data
    if need > self.room:
        room = self.room * 2 if self.room else 1024
        if room < need:
            room = need
        data = <unsigned char*> realloc(self.data, room)
        if data == NULL:
            return NULL
        self.data = data
        self.room = room
    return self.data + self.used


cdef int buffer_put(Buffer* self, const void* data, size_t size) noexcept nogil:
    cdef unsigned char* at = buffer_reserve(self, size)
    if at == NULL:
        return -1
    # Of nothing, `data` may be NULL, and memcpy's may not.
    if size:
        memcpy(at, data, size)
    self.used += size
    return 0


cdef unsigned char* buffer_surrender(Buffer* self, size_t* size) noexcept nogil:
    cdef unsigned char* data = self.data
    size[0] = self.used
    buffer_init(self)
    return data

# SPDX-License-Identifier: BSD-3-Clause
"""See post.pxd, the contents page."""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from covey.link.libzmq cimport (
    ZMQ_DONTWAIT, ZMQ_EVENTS, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_SNDMORE, ZmqMessage, zmq)
from covey.wire.bale cimport Bale, Frame, bale_drop, bale_hold
from covey.wire.buffer cimport Buffer, buffer_clear, buffer_reserve, buffer_surrender
from covey.wire.protocol cimport Header, wire_header
from covey.wire.spill cimport COUNTED, held_add

cdef extern from "<errno.h>" nogil:
    enum:
        EAGAIN
        EHOSTUNREACH


# Heads up to this size are copied into libzmq; larger ones change hands.
cdef enum:
    COPIED = 2048


cdef double clock_now() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double> now.tv_sec + <double> now.tv_nsec * 1e-9


cdef int head_open(Buffer* head) noexcept nogil:
    buffer_clear(head)
    if buffer_reserve(head, sizeof(Header)) == NULL:
        return -1
    head.used = sizeof(Header)
    return 0


cdef void head_close(Buffer* head, int kind, uint32_t count, int flags) noexcept nogil:
    (<Header*> head.data)[0] = wire_header(kind, count, flags)


cdef Letter* letter_of(Buffer* head) noexcept nogil:
    cdef Letter* self = <Letter*> malloc(sizeof(Letter))
    if self == NULL:
        return NULL
    self.next = NULL
    self.head = buffer_surrender(head, &self.size)
    self.counted = self.size if self.size >= COUNTED else 0
    if self.counted:
        held_add(<int64_t> self.counted)
    self.bale = NULL
    self.first = 0
    self.count = 0
    self.serial = 0
    self.bytes = 0
    return self


cdef Letter* letter_of_bale(Bale* bale) noexcept nogil:
    cdef Letter* self = <Letter*> calloc(1, sizeof(Letter))
    if self != NULL:
        bale_hold(bale)
        self.bale = bale
    return self


cdef void letter_free(Letter* self) noexcept nogil:
    if self != NULL:
        if self.counted:
            held_add(-<int64_t> self.counted)
        free(self.head)
        bale_drop(self.bale)
        free(self)


cdef uint64_t letter_size(const Letter* self) noexcept nogil:
    cdef uint64_t size = self.size if self.head != NULL else 0
    cdef uint32_t i
    if self.bale != NULL:
        for i in range(self.first, self.bale.count):
            size += self.bale.frames[i].size
    return size


cdef void queue_put_back(LetterQueue* queue, Letter* letter) noexcept nogil:
    letter.next = queue.head
    queue.head = letter
    if queue.tail == NULL:
        queue.tail = letter
    queue.length += 1
    queue.bytes += letter_size(letter)


cdef void queue_put(LetterQueue* queue, Letter* letter) noexcept nogil:
    letter.next = NULL
    if queue.tail == NULL:
        queue.head = letter
    else:
        queue.tail.next = letter
    queue.tail = letter
    queue.length += 1
    queue.bytes += letter_size(letter)


cdef Letter* queue_take(LetterQueue* queue) noexcept nogil:
    cdef Letter* letter = queue.head
    if letter != NULL:
        queue.head = letter.next
        if queue.head == NULL:
            queue.tail = NULL
        queue.length -= 1
        queue.bytes -= letter_size(letter)
        letter.next = NULL
    return letter


cdef void queue_clear(LetterQueue* queue) noexcept nogil:
    cdef Letter* letter = queue_take(queue)
    while letter != NULL:
        letter_free(letter)
        letter = queue_take(queue)


cdef void _free_head(void* data, void* hint) noexcept nogil:
    if hint != NULL:
        held_add(-<int64_t> <size_t> hint)
    free(data)


cdef void _drop_bale(void* data, void* hint) noexcept nogil:
    bale_drop(<Bale*> hint)


cdef bint _socket_has(void* socket, int event) noexcept nogil:
    cdef int events = 0
    cdef size_t size = sizeof(events)
    if zmq.getsockopt(socket, ZMQ_EVENTS, &events, &size) < 0:
        return False
    return (events & event) != 0


cdef int _send_frames(Letter* self, void* socket, uint32_t last) noexcept nogil:
    cdef ZmqMessage message
    cdef uint32_t i
    cdef Frame* frame
    for i in range(self.first, last):
        frame = &self.bale.frames[i]
        bale_hold(self.bale)
        zmq.msg_init_data(&message, frame.data, frame.size, _drop_bale, self.bale)
        if zmq.msg_send(&message, socket, ZMQ_DONTWAIT | (ZMQ_SNDMORE if i + 1 < last else 0)) < 0:
            zmq.msg_close(&message)
            return BROKEN
    letter_free(self)
    return SENT


cdef int letter_send(Letter* self, void* socket, const unsigned char* route, size_t route_size) noexcept nogil:
    cdef ZmqMessage message
    cdef uint32_t last = self.bale.count if self.bale != NULL else 0
    cdef bint more = self.bale != NULL and self.first < last
    cdef int error
    # Only the first part can be refused; once it is taken, libzmq takes the rest of the message.
    if route != NULL:
        zmq.msg_init_size(&message, route_size)
        memcpy(zmq.msg_data(&message), route, route_size)
        if zmq.msg_send(&message, socket, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0:
            error = zmq.last_error()
            zmq.msg_close(&message)
            return LATER if error == EAGAIN else NOBODY if error == EHOSTUNREACH else BROKEN
    elif (self.size > COPIED or self.head == NULL) and not _socket_has(socket, ZMQ_POLLOUT):
        # A refused message would take the head with it when it is closed.
        return LATER
    if self.head == NULL:
        return _send_frames(self, socket, last)
    if self.size <= COPIED:
        zmq.msg_init_size(&message, self.size)
        memcpy(zmq.msg_data(&message), self.head, self.size)
    else:
        zmq.msg_init_data(&message, self.head, self.size, _free_head, <void*> self.counted)
    if zmq.msg_send(&message, socket, ZMQ_DONTWAIT | (ZMQ_SNDMORE if more else 0)) < 0:
        error = zmq.last_error()
        zmq.msg_close(&message)
        if self.size > COPIED:
            self.head = NULL
            self.counted = 0
            return BROKEN
        return LATER if error == EAGAIN else NOBODY if error == EHOSTUNREACH else BROKEN
    if self.size > COPIED:
        self.head = NULL
        self.counted = 0
    return _send_frames(self, socket, last)


cdef struct Received:
    Bale bale
    uint32_t room
    uint64_t counted                # of what is held; 0: too small for that
    ZmqMessage* messages


cdef void _discard_received(Bale* bale) noexcept nogil:
    cdef Received* self = <Received*> bale
    cdef uint32_t i
    if self.counted:
        held_add(-<int64_t> self.counted)
    for i in range(bale.count):
        zmq.msg_close(&self.messages[i])
    if self.room > 1:
        free(self.messages)
        free(bale.frames)
    free(self)


cdef Bale* bale_receive(void* socket, unsigned char* route, size_t* route_size) noexcept nogil:
    cdef ZmqMessage message
    cdef Received* self
    cdef ZmqMessage* messages
    cdef Frame* frames
    cdef bint more
    cdef uint32_t i
    zmq.msg_init(&message)
    if zmq.msg_recv(&message, socket, ZMQ_DONTWAIT) < 0:
        zmq.msg_close(&message)
        return NULL
    if route != NULL:
        route_size[0] = zmq.msg_size(&message)
        if route_size[0] <= 16:
            memcpy(route, zmq.msg_data(&message), route_size[0])
        more = zmq.msg_more(&message)
        zmq.msg_close(&message)
        zmq.msg_init(&message)
        if not more or zmq.msg_recv(&message, socket, ZMQ_DONTWAIT) < 0:
            zmq.msg_close(&message)
            return NULL
    # One message and its frame stand behind the struct; more of them get arrays of their own.
    self = <Received*> malloc(sizeof(Received) + sizeof(ZmqMessage) + sizeof(Frame))
    if self == NULL:
        zmq.msg_close(&message)
        return NULL
    self.room = 1
    self.counted = 0
    self.messages = <ZmqMessage*> (self + 1)
    self.bale.frames = <Frame*> (self.messages + 1)
    self.bale.holders = 1
    self.bale.count = 0
    self.bale.discard = _discard_received
    self.bale.next = NULL
    while True:
        if self.bale.count == self.room:
            messages = <ZmqMessage*> malloc(self.room * 4 * sizeof(ZmqMessage))
            frames = <Frame*> malloc(self.room * 4 * sizeof(Frame))
            if messages == NULL or frames == NULL:
                free(messages)
                free(frames)
                zmq.msg_close(&message)
                bale_drop(&self.bale)
                return NULL
            for i in range(self.bale.count):
                zmq.msg_init(&messages[i])
                zmq.msg_move(&messages[i], &self.messages[i])
                zmq.msg_close(&self.messages[i])
            if self.room > 1:
                free(self.messages)
                free(self.bale.frames)
            self.messages = messages
            self.bale.frames = frames
            self.room *= 4
        i = self.bale.count
        more = zmq.msg_more(&message)
        zmq.msg_init(&self.messages[i])
        zmq.msg_move(&self.messages[i], &message)
        zmq.msg_close(&message)
        self.bale.count += 1
        if not more:
            break
        zmq.msg_init(&message)
        if zmq.msg_recv(&message, socket, ZMQ_DONTWAIT) < 0:
            zmq.msg_close(&message)
            bale_drop(&self.bale)
            return NULL
    # Small messages live inside zmq_msg_t itself, so the pointers are only right once nothing moves any more.
    for i in range(self.bale.count):
        self.bale.frames[i].data = <unsigned char*> zmq.msg_data(&self.messages[i])
        self.bale.frames[i].size = zmq.msg_size(&self.messages[i])
        self.counted += self.bale.frames[i].size
    if self.counted < COUNTED:
        self.counted = 0
    else:
        held_add(<int64_t> self.counted)
    return &self.bale


cdef const char* bale_user(Bale* bale) noexcept nogil:
    return zmq.msg_gets(&(<Received*> bale).messages[0], b"User-Id")


cdef bint socket_ready(void* socket) noexcept nogil:
    return _socket_has(socket, ZMQ_POLLIN)


cdef list letter_frames(Letter* self):
    cdef list frames = []
    cdef uint32_t i
    if self.head != NULL:
        frames.append((<const char*> self.head)[:self.size])
    if self.bale != NULL:
        for i in range(self.first, self.bale.count):
            frames.append((<const char*> self.bale.frames[i].data)[:self.bale.frames[i].size])
    letter_free(self)
    return frames

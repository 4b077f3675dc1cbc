# SPDX-License-Identifier: BSD-3-Clause
"""The sockets of a loop: home, gate, and one for each link that it dials.

Why: the desk knows peers by routes; a route begins with the number of the port it belongs to, and here the numbers
become sockets. Encryption, and who may come in, are settled here, before a byte reaches the desk.

    home   inproc and ipc, for this machine; what protects it is the folder it stands in
    gate   TCP, always CURVE; the keys in `zap` and no others come in, each as what it is marked
    dials  one DEALER each

May not know: what a message says. Guarantees: the gate takes no connection before its keys are watched; the gate and the
dials share a context with nobody, so no other code of the process can answer for us. One thread.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from covey.link.callers cimport Callers
from covey.link.dial cimport CurveKeys, Dial
from covey.link.wake cimport Wake
from covey.link.zap cimport Zap

cdef enum:
    HOME = 0
    GATE = 1

# Messages that libzmq keeps for one connection: of 1 MiB each it is the memory that somebody who does not read can take.
# What does not fit waits in our own queues, which are bounded.
cdef enum:
    HIGH = 512

cdef struct Ports:
    void* far                       # the context of gate and dials; NULL until one is needed
    void* home
    void* gate
    void* gate_monitor
    Zap zap
    Callers callers                 # those whose handshake failed before there was a key to ask about
    uint64_t cut                    # connections at the gate that have ended; whose, libzmq does not say
    Dial** dials                    # port FIRST_DIAL + i, for ever; owned
    uint32_t dial_count
    uint32_t dial_room
    uint8_t* look                   # for home, gate, zap, the gate's monitor, and socket and monitor of each dial: something may be there
    int* fds                        # of the same, as they were last asked for; -1: none

cdef int ports_init(Ports* self) noexcept nogil
cdef void ports_close(Ports* self) noexcept nogil
# Makes the gate, with this secret key; -1 with libzmq's error. Bind it with zmq.bind.
cdef int ports_open_gate(Ports* self, const uint8_t* secret, bint ipv6) noexcept nogil
# The dial's number, or -1: no memory.
cdef int ports_dial(Ports* self, const char* address, int role, const CurveKeys* keys) noexcept nogil
# Sees to a dial, if there is anything to see or it is time: a DialNews.
cdef int ports_step(Ports* self, uint32_t dial, double now) noexcept nogil
# Answers who asks whether a key may come in; True if somebody did not get in.
cdef bint ports_answer(Ports* self) noexcept nogil
# When a dial wants to be seen to; infinity: none does.
cdef double ports_next_time(const Ports* self) noexcept nogil
cdef void* ports_socket(Ports* self, uint32_t port) noexcept nogil
# Whether letters to this port are cut into pieces.
cdef bint ports_cuts(const Ports* self, uint32_t port) noexcept nogil
# Whether the port has to be received from; and that it has to, because it was sent to.
cdef bint ports_looks(const Ports* self, uint32_t port) noexcept nogil
cdef void ports_look(Ports* self, uint32_t port) noexcept nogil
# Asks the sockets that were used: whether one of them still has something.
cdef bint ports_unsettled(Ports* self) noexcept nogil
# Waits until the bell rings, something is there, or `seconds` are over.
cdef void ports_wait(Ports* self, Wake* wake, double seconds, int looks) noexcept nogil

# SPDX-License-Identifier: BSD-3-Clause
"""Questions and answers between loops: what people want to know or to have done, as text.

Why here and not in Python: a question comes in among tasks, from a peer whose row may be another's before anybody has
answered. So a question is handed out with a handle that names the peer's row, its birth and the question's number.

May not know: what is asked. Guarantees: only an asker is heard, and no more than MAX_QUERIES of its questions at a time;
an answer that nobody asked for counts against its peer; one for a peer that has left goes nowhere.
"""
from libc.stdint cimport int32_t, uint32_t

from covey.broker.desk cimport Desk
from covey.wire.bale cimport Bale

cdef void inquiries_on_query(Desk* self, int32_t peer, Bale* bale) noexcept nogil
cdef void inquiries_on_answer(Desk* self, int32_t peer, Bale* bale) noexcept nogil
# Asks a loop below: the question's number, or 0 if it is not there any more.
cdef uint32_t inquiries_ask(Desk* self, int32_t peer, uint32_t birth, const char* text, uint32_t length) noexcept nogil
cdef void inquiries_answer(
    Desk* self, int32_t peer, uint32_t birth, uint32_t serial, const char* text, uint32_t length) noexcept nogil

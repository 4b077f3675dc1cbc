# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler's orders become letters: the outgoing half of the desk.

An assignment copies its parcel into the doer's batch: the bale must stay, in case the doer dies.
Large buffers behind it are shared, not copied.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, realloc
from libc.string cimport memcpy, memset, strdup, strlen

from covey.broker.bodies cimport BodyRow
from covey.broker.desk cimport (
    NO_TASK, WORK_BEGAN, Blame, Desk, desk_add_errand, desk_cargo_done, desk_forget_blames, desk_kill, desk_name_of)
from covey.broker.peers cimport DOING, DYING, Peer, peers_close_batch, peers_record, peers_tell
from covey.broker.relays cimport relays_on_drained
from covey.broker.scheduler cimport (
    ASSIGN, BLAME, DISMISS, END, GIVE_BACK, KILL, LEFT_PLANNED, REVOKE, TAKE_BACK, Order, scheduler_next_order)
from covey.wire.bale cimport Bale, bale_hold
from covey.wire.protocol cimport (
    ATTENDED, BROKEN, CANCEL, EXTRA, FORCE, FUNCTION, LOST, MAYBE_RAN, OUTCOMES, OUT_OF_MEMORY, POISONED, RETRACT, RETRACTED,
    STOP, TASKS, CancelRecord, FunctionRecord, Header, OutcomeRecord, RetractedRecord, TaskRecord, TicketRecord)

# The line of an attempt that raised. Its error is sealed, and was the slot's alone to read.
cdef const char* RAISED = b"it raised an error, and was tried again\n"


cdef int _send_body(Desk* self, int32_t peer, int32_t body) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef BodyRow* of = &self.bodies.rows[body]
    cdef unsigned char* record = of.bale.frames[0].data + sizeof(Header)
    cdef size_t size = sizeof(FunctionRecord) + (<FunctionRecord*> record).length
    cdef unsigned char* at
    cdef uint8_t* known
    cdef uint32_t room = row.known_room if row.known_room else 64
    while room <= <uint32_t> body:
        room *= 2
    if room != row.known_room:
        known = <uint8_t*> realloc(row.known, room)
        if known == NULL:
            return -1
        memset(known + row.known_room, 0, room - row.known_room)
        row.known = known
        row.known_room = room
    if row.known[body]:
        return 0
    peers_close_batch(&self.peers, peer, 0, NULL)
    at = peers_record(&self.peers, peer, FUNCTION, size)
    if at == NULL:
        return -1
    memcpy(at, record, size)
    (<FunctionRecord*> at).number = <uint32_t> body + 1
    if of.bale.count > 1:
        bale_hold(of.bale)
        peers_close_batch(&self.peers, peer, EXTRA, of.bale)
    else:
        peers_close_batch(&self.peers, peer, 0, NULL)
    row.known[body] = 1
    self.bodies_sent += 1
    return 0


cdef void _assign(Desk* self, const Order* order) noexcept nogil:
    cdef int32_t peer = self.doer_peers[order.doer]
    cdef Peer* row = &self.peers.rows[peer]
    cdef Bale* bale = <Bale*> order.cargo.bale
    cdef unsigned char* at
    cdef const TaskRecord* of
    cdef TaskRecord* task
    if self.awaited and not row.relays:
        self.awaited = False
        desk_add_errand(self, WORK_BEGAN, 0, NULL)
    if <uint32_t> order.function >= row.known_room or not row.known[order.function]:
        _send_body(self, peer, order.function)
    if bale.count > 1:
        peers_close_batch(&self.peers, peer, 0, NULL)
    of = <TaskRecord*> (bale.frames[0].data + order.cargo.offset - sizeof(TaskRecord))
    at = peers_record(&self.peers, peer, TASKS, sizeof(TaskRecord) + of.length)
    if at == NULL:
        return
    task = <TaskRecord*> at
    task.ticket = order.token
    task.name = desk_name_of(self, &order.cargo, order.token)
    task.function = <uint32_t> order.function + 1
    task.length = of.length
    task.priority = order.priority
    task.needs = order.needs
    # What the scheduler does not look at, the record still says.
    task.flags = order.flags | of.flags & ATTENDED
    task.retries = order.retries
    task.crashes = order.crashes
    task.attempts = order.attempt - 1
    task.share = order.share
    task.timeout_ms = order.timeout_ms
    # Who rests is tried again from here, never from below.
    task.retry_wait_ms = 0
    memcpy(at + sizeof(TaskRecord), bale.frames[0].data + order.cargo.offset, of.length)
    if bale.count > 1:
        bale_hold(bale)
        peers_close_batch(&self.peers, peer, EXTRA, bale)


cdef void _note_blame(Desk* self, const Order* order) noexcept nogil:
    cdef Peer* row = &self.peers.rows[self.doer_peers[order.doer]]
    cdef Blame* blame = <Blame*> calloc(1, sizeof(Blame))
    cdef const char* said = row.report
    cdef char line[512]
    if blame == NULL:
        return
    if said == NULL:
        said = line
        if row.relays:
            snprintf(
                line, sizeof(line), "node %s %s", <char*> row.host, b"left" if order.why == LEFT_PLANNED else b"was lost")
        else:
            snprintf(
                line, sizeof(line), "slot %u (pid %u on %s) was lost", <unsigned> row.number, <unsigned> row.pid,
                <char*> row.host)
    blame.asker = order.asker
    blame.ticket = order.ticket
    blame.line = strdup(said)
    # The list is short and its order is the order of the attempts.
    blame.next = self.blames
    self.blames = blame


cdef void departures_end(
        Desk* self, int32_t asker, uint64_t ticket, int status, int attempt, int raised, const unsigned char* more,
        size_t more_size) noexcept nogil:
    cdef unsigned char* at
    cdef OutcomeRecord* outcome
    cdef Blame* blame = self.blames
    cdef size_t size = more_size
    cdef size_t back
    if status not in (POISONED, LOST, BROKEN, MAYBE_RAN, OUT_OF_MEMORY):
        raised = 0
    size += raised * strlen(RAISED)
    while blame != NULL:
        if blame.asker == asker and blame.ticket == ticket:
            size += strlen(blame.line) + 1
        blame = blame.next
    at = peers_record(&self.peers, self.asker_peers[asker], OUTCOMES, sizeof(OutcomeRecord) + size)
    if at != NULL:
        outcome = <OutcomeRecord*> at
        memset(outcome, 0, sizeof(OutcomeRecord))
        outcome.ticket = ticket
        outcome.length = <uint32_t> size
        outcome.status = <uint8_t> status
        outcome.attempt = <uint8_t> attempt
        # The newest blame stands first in the list: filled from the back, the first attempt leads.
        back = size
        for _ in range(raised):
            back -= strlen(RAISED)
            memcpy(at + sizeof(OutcomeRecord) + back, RAISED, strlen(RAISED))
        back -= more_size
        if more_size:
            memcpy(at + sizeof(OutcomeRecord) + back, more, more_size)
        blame = self.blames
        while blame != NULL:
            if blame.asker == asker and blame.ticket == ticket:
                back -= strlen(blame.line) + 1
                memcpy(at + sizeof(OutcomeRecord) + back, blame.line, strlen(blame.line))
                at[sizeof(OutcomeRecord) + back + strlen(blame.line)] = c"\n"
            blame = blame.next
    if self.blames != NULL:
        desk_forget_blames(self, asker, ticket)


cdef void _end(Desk* self, const Order* order) noexcept nogil:
    if order.asker >= 0 and self.asker_peers[order.asker] >= 0:
        departures_end(self, order.asker, order.ticket, order.status, order.attempt, order.raised, NULL, 0)
    elif self.blames != NULL:
        desk_forget_blames(self, order.asker, order.ticket)
    desk_cargo_done(self, &order.cargo)


cdef void _give_back(Desk* self, const Order* order) noexcept nogil:
    cdef RetractedRecord* record
    if order.asker >= 0 and self.asker_peers[order.asker] >= 0:
        record = <RetractedRecord*> peers_record(
            &self.peers, self.asker_peers[order.asker], RETRACTED, sizeof(RetractedRecord))
        if record != NULL:
            record.ticket = order.ticket
            record.given_back = order.status
    if order.status:
        desk_cargo_done(self, &order.cargo)


cdef void departures_carry_out(Desk* self, double now) noexcept nogil:
    cdef Order order
    cdef TicketRecord* ticket
    cdef CancelRecord* cancel
    cdef Peer* row
    while scheduler_next_order(self.scheduler, &order):
        if order.kind == ASSIGN:
            _assign(self, &order)
        elif order.kind == END:
            _end(self, &order)
        elif order.kind == TAKE_BACK:
            ticket = <TicketRecord*> peers_record(
                &self.peers, self.doer_peers[order.doer], RETRACT, sizeof(TicketRecord))
            if ticket != NULL:
                ticket.ticket = order.token
        elif order.kind == REVOKE:
            cancel = <CancelRecord*> peers_record(
                &self.peers, self.doer_peers[order.doer], CANCEL, sizeof(CancelRecord))
            if cancel != NULL:
                cancel.ticket = order.token
                cancel.flags = 0
        elif order.kind == KILL and self.peers.rows[self.doer_peers[order.doer]].relays:
            cancel = <CancelRecord*> peers_record(
                &self.peers, self.doer_peers[order.doer], CANCEL, sizeof(CancelRecord))
            if cancel != NULL:
                cancel.ticket = order.token
                cancel.flags = FORCE
        elif order.kind == GIVE_BACK:
            _give_back(self, &order)
        elif order.kind == KILL:
            self.peers.rows[self.doer_peers[order.doer]].killed = True
            desk_kill(self, order.doer)
        elif order.kind == BLAME:
            _note_blame(self, &order)
        elif order.kind == DISMISS and order.status == LOST:
            # Its lease ran out; what it had is with others. It will not answer, so it is buried like a dead one.
            row = &self.peers.rows[self.doer_peers[order.doer]]
            if row.relays:
                # Not here and now: its other places may be named by orders that are still to come.
                row.silent = True
                self.silent = True
                continue
            desk_kill(self, order.doer)
            if row.state == DOING:
                row.state = DYING
                row.judged_at = now
                row.died_under = NO_TASK
                self.dying += 1
        elif order.kind == DISMISS and self.peers.rows[self.doer_peers[order.doer]].relays:
            relays_on_drained(self, order.doer)
        elif order.kind == DISMISS:
            peers_tell(&self.peers, self.doer_peers[order.doer], STOP, NULL, 0, NULL, 0)

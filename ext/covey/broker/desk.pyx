# SPDX-License-Identifier: BSD-3-Clause
"""See desk.pxd, the contents page."""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset, strncpy

from covey.broker.bodies cimport bodies_free, bodies_init, bodies_release
from covey.broker.names cimport book_drop, book_free
from covey.broker.peers cimport ASKING, DOING, GREETING, Peer, peers_free, peers_init, peers_tell
from covey.broker.scheduler cimport (
    Order, scheduler_free, scheduler_new, scheduler_next_order, scheduler_on_asker_held,
    scheduler_on_asker_left, scheduler_on_function_forgotten)
from covey.link.transit cimport transit_bytes
from covey.wire.bale cimport bale_drop, bale_hold
from covey.wire.protocol cimport BYE, FORGET, MAX_RECORDS, PLANNED, STOP, WHOLE_SHARE, ForgetRecord, RefuseRecord, TaskRecord


cdef int desk_init(Desk* self, const Limits* limits) noexcept nogil:
    memset(self, 0, sizeof(Desk))
    self.lease = limits.lease
    self.credit_tasks = limits.credit_tasks
    self.credit_bytes = limits.credit_bytes
    self.least_share = WHOLE_SHARE
    self.allowed = self.press_at = self.loop_credit = ~<uint64_t> 0
    self.scheduler = scheduler_new(limits)
    self.whose = <int32_t*> malloc(MAX_RECORDS * sizeof(int32_t))
    if self.scheduler == NULL or self.whose == NULL or peers_init(&self.peers) < 0 or bodies_init(&self.bodies) < 0:
        return -1
    return 0


cdef void desk_free(Desk* self) noexcept nogil:
    cdef Order order
    cdef Deferred* deferred
    cdef Blame* blame
    cdef Errand* errand = desk_next_errand(self)
    cdef Farewell* farewell = desk_next_farewell(self)
    cdef uint32_t i
    while farewell != NULL:
        free(farewell)
        farewell = desk_next_farewell(self)
    while errand != NULL:
        desk_errand_done(errand)
        errand = desk_next_errand(self)
    # The bales of unfinished tasks come back as the END orders of askers who leave, those included who are away.
    for i in range(self.asker_room):
        scheduler_on_asker_left(self.scheduler, <int32_t> i, 0)
    while self.scheduler != NULL and scheduler_next_order(self.scheduler, &order):
        bale_drop(<Bale*> order.cargo.bale)
    while self.blames != NULL:
        blame = self.blames
        self.blames = blame.next
        free(blame.line)
        free(blame)
    while self.deferred != NULL:
        deferred = self.deferred
        self.deferred = deferred.next
        bale_drop(deferred.bale)
        free(deferred)
    book_free(&self.absent)
    book_free(&self.kept)
    book_free(&self.claims)
    scheduler_free(self.scheduler)
    bodies_free(&self.bodies)
    peers_free(&self.peers)
    free(self.asker_peers)
    free(self.doer_peers)
    free(self.whose)
    memset(self, 0, sizeof(Desk))


cdef uint64_t desk_name_of(const Desk* self, const Cargo* cargo, uint64_t token) noexcept nogil:
    cdef Bale* bale = <Bale*> cargo.bale
    cdef uint64_t name = 0
    if bale != NULL:
        name = (<TaskRecord*> (bale.frames[0].data + cargo.offset - sizeof(TaskRecord))).name
    if name == 0:
        # Without the attempt, which differs each time.
        name = self.name_base ^ (token & <uint64_t> 0x00ffffffffffffff)
    return name if name else 1


cdef bint desk_weigh(Desk* self, int32_t peer) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef uint64_t bytes = row.outbox.bytes + transit_bytes(&row.transit)
    if row.state != ASKING or row.held == (bytes > (self.outbox_most >> row.held)):
        return False
    row.held = not row.held
    scheduler_on_asker_held(self.scheduler, row.index, row.held)
    return not row.held


cdef void desk_release_body(Desk* self, int32_t body, uint32_t askers, uint32_t tasks) noexcept nogil:
    cdef ForgetRecord record
    cdef Peer* row
    cdef uint32_t i
    if not bodies_release(&self.bodies, body, askers, tasks):
        return
    scheduler_on_function_forgotten(self.scheduler, body)
    record.number = <uint32_t> body + 1
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state == DOING and <uint32_t> body < row.known_room and row.known[body]:
            row.known[body] = 0
            peers_tell(&self.peers, <int32_t> i, FORGET, &record, sizeof(record), NULL, 0)


cdef void desk_cargo_done(Desk* self, const Cargo* cargo) noexcept nogil:
    """The row that carried it is gone: so are its share of the bale and of the function's body."""
    cdef Bale* bale = <Bale*> cargo.bale
    cdef TaskRecord* record
    cdef int32_t body
    if bale == NULL:
        return
    record = <TaskRecord*> (bale.frames[0].data + cargo.offset - sizeof(TaskRecord))
    body = <int32_t> record.function
    if self.absent.count:
        book_drop(&self.absent, record.name)
    bale_drop(bale)
    desk_release_body(self, body, 0, 1)


cdef void _forget(Desk* self, int32_t asker, uint64_t ticket, bint every) noexcept nogil:
    cdef Blame** link = &self.blames
    cdef Blame* blame
    while link[0] != NULL:
        blame = link[0]
        if blame.asker == asker and (every or blame.ticket == ticket):
            link[0] = blame.next
            free(blame.line)
            free(blame)
        else:
            link = &blame.next


cdef void desk_forget_blames(Desk* self, int32_t asker, uint64_t ticket) noexcept nogil:
    _forget(self, asker, ticket, False)


cdef void desk_forget_blames_of(Desk* self, int32_t asker) noexcept nogil:
    _forget(self, asker, 0, True)


cdef Errand* desk_add_errand(Desk* self, int kind, uint32_t pid, Bale* bale) noexcept nogil:
    cdef Errand** link = &self.errands
    cdef Errand* errand = <Errand*> calloc(1, sizeof(Errand))
    if errand == NULL:
        return NULL
    while link[0] != NULL:
        link = &link[0].next
    link[0] = errand
    errand.kind = kind
    errand.pid = pid
    errand.bale = bale
    if bale != NULL:
        bale_hold(bale)
    return errand


cdef void desk_kill(Desk* self, int32_t doer) noexcept nogil:
    desk_add_errand(self, KILL_SLOT, self.peers.rows[self.doer_peers[doer]].pid, NULL)


cdef Errand* desk_next_errand(Desk* self) noexcept nogil:
    cdef Errand* errand = self.errands
    if errand != NULL:
        self.errands = errand.next
    return errand


cdef void desk_errand_done(Errand* errand) noexcept nogil:
    bale_drop(errand.bale)
    free(errand)


cdef void _stop(Desk* self, bint relays) noexcept nogil:
    cdef uint32_t i
    for i in range(self.peers.room):
        if self.peers.rows[i].state == DOING and self.peers.rows[i].relays == relays:
            peers_tell(&self.peers, <int32_t> i, STOP, NULL, 0, NULL, 0)


cdef void desk_stop_slots(Desk* self) noexcept nogil:
    self.closing = True
    _stop(self, False)


cdef void desk_stop_nodes(Desk* self) noexcept nogil:
    _stop(self, True)


cdef void desk_say_bye(Desk* self) noexcept nogil:
    cdef RefuseRecord record
    cdef uint32_t i
    record.reason = PLANNED
    record.length = 0
    for i in range(self.peers.room):
        if self.peers.rows[i].relays and self.peers.rows[i].state in (ASKING, DOING, GREETING):
            peers_tell(&self.peers, <int32_t> i, BYE, &record, sizeof(record), NULL, 0)


cdef uint32_t desk_port_of(const Peer* row) noexcept nogil:
    return row.route[0] | <uint32_t> row.route[1] << 8


cdef void desk_farewell(Desk* self, int32_t peer, const char* why, double patience) noexcept nogil:
    cdef Farewell* farewell
    cdef uint32_t port = desk_port_of(&self.peers.rows[peer])
    if port < FIRST_DIAL:
        return
    farewell = <Farewell*> calloc(1, sizeof(Farewell))
    if farewell == NULL:
        return
    farewell.port = port
    farewell.patience = patience
    strncpy(farewell.text, why, sizeof(farewell.text) - 1)
    farewell.next = self.farewells
    self.farewells = farewell
    self.news = True


cdef Farewell* desk_next_farewell(Desk* self) noexcept nogil:
    cdef Farewell* farewell = self.farewells
    if farewell != NULL:
        self.farewells = farewell.next
    return farewell

# SPDX-License-Identifier: BSD-3-Clause
"""See arrivals.pxd, the contents page."""
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strdup, strlen

from covey.broker.bodies cimport bodies_learn
from covey.broker.catalogue cimport catalogue_find, catalogue_put, catalogue_take
from covey.broker.departures cimport departures_carry_out, departures_end
from covey.broker.desk cimport (
    FAULTS_MAX, FIRST_DIAL, LEAVE, NO_TASK, SETUP_BROKE, SHARE_SOUGHT, UNKNOWN_TASK, desk_add_errand, desk_cargo_done, desk_farewell,
    desk_forget_blames, desk_forget_blames_of, desk_port_of, desk_release_body)
from covey.broker.inquiries cimport inquiries_on_answer, inquiries_on_query
from covey.broker.peers cimport (
    ASKING, DIALLED_US, DOING, DYING, GREETING, STRANGER, Peer, peers_add, peers_close_batch, peers_find, peers_post,
    peers_record, peers_remove, peers_tell, peers_touch)
from covey.broker.pressure cimport pressure_fit, pressure_taken
from covey.broker.relays cimport (
    relays_drain, relays_join_asker, relays_join_doer, relays_knows, relays_name, relays_offer, relays_on_credit, relays_on_welcome,
    relays_tell)
from covey.broker.returns cimport (
    returns_claim, returns_defer, returns_keep, returns_meet, returns_next_deferred, returns_on_asker_away, returns_on_held,
    returns_tell_held)
from covey.broker.scheduler cimport (
    ACCEPTED, DUPLICATE, LEFT_CRASHED, LEFT_IDLE, LEFT_KILLED, LEFT_LOST, LEFT_OOM, LEFT_PLANNED, Cargo, Verdict, scheduler_doer_of,
    scheduler_find, scheduler_on_asker_left, scheduler_on_cancel, scheduler_on_died_under, scheduler_on_doer_left,
    scheduler_on_given_back, scheduler_on_heard, scheduler_on_outcome, scheduler_on_retract, scheduler_on_started,
    scheduler_on_task, scheduler_where)
from covey.link.pieces cimport NOT_YET, WRONG, pieces_add, pieces_size
from covey.link.post cimport letter_of_bale
from covey.link.transit cimport transit_on_taken
from covey.wire.bale cimport Bale, bale_drop, bale_hold, bale_size
from covey.wire.protocol cimport (
    ANSWER, ASKER, BAD_FIELD, BAD_NAME, BAD_PYTHON, BAD_VERSION, BROKEN, BYE, CANCEL, CREDIT, DOER, FINAL, FORCE, FORGET, FUNCTION,
    GPU, HELD, HELLO, LEAVING, LOST, MAYBE_RAN, NOT_ALLOWED, NOTE, OTHER_VERSION, OUTCOMES, OUTPUT, OUT_OF_MEMORY, PIECES,
    POISONED, QUERY, REFUSE, REFUSED, RESOURCES, RETRACT, RETRACTED, SETUP_FAILED, STARTED, STOP, TAKEN, TASKS, WELCOME,
    WHO_ARE_YOU,
    CancelRecord, CreditRecord, ForgetRecord, FunctionRecord, Header, HeldRecord, HelloRecord, NoteRecord, OutcomeRecord,
    OutputRecord, RefuseRecord, RetractedRecord, TakenRecord, TaskRecord, TicketRecord, WelcomeRecord, wire_check)

# Seconds before a peer that will not have us is dialled again.
cdef double REFUSED_PATIENCE = 3.0

# What a dead slot sent before it died is in the socket already; so long it is waited for, lest a task
# whose outcome is on the way be blamed for the death.
cdef double LAST_WORDS = 0.02

# A slot that cannot be reached was killed or cut off; so long the keeper has to say which.
cdef double KEEPER_PATIENCE = 5.0


cdef void _refuse(Desk* self, int32_t peer, uint32_t reason, const char* text) noexcept nogil:
    cdef RefuseRecord record
    record.reason = reason
    record.length = <uint32_t> strlen(text)
    peers_tell(&self.peers, peer, REFUSE, &record, sizeof(record), text, record.length)


cdef void _turn_away(Desk* self, int32_t peer, uint32_t reason, const char* name, uint32_t length, const char* text) noexcept nogil:
    """Both sides are told: the caller at once, our own people when they next ask (Broker.turned_away)."""
    self.turned_away += 1
    self.news = True
    snprintf(self.turned_why, sizeof(self.turned_why), "%.*s: %s", <int> min(length, <uint32_t> 80), name, text)
    _refuse(self, peer, reason, text)


cdef const char* _unwelcome(
        Desk* self, const Peer* row, const HelloRecord* hello, const char* name, uint32_t* reason,
        char* room, size_t size) noexcept nogil:
    """Why it may not come in, as a sentence for its user, perhaps written into `room`; NULL: it may."""
    if not row.allowed & 1 << hello.role:
        reason[0] = NOT_ALLOWED
        return (
            b"the key it came with is a node's, and a node may not ask for work to be done" if hello.role == ASKER
            else b"the key it came with is a client's, and a client may not offer to do work")
    if hello.python != self.python:
        reason[0] = BAD_PYTHON
        # The same words are read on both sides.
        snprintf(
            room, size, "its Python is another minor version than ours (%d.%d calls %d.%d), and functions cannot be read "
            "across: use the same on both sides",
            hello.python >> 8, hello.python & 255, self.python >> 8, self.python & 255)
        return room
    if hello.role == DOER and hello.relays and relays_knows(self, name, hello.length):
        reason[0] = BAD_NAME
        return b"a node of the same name is connected already: give each its own (--name)"
    return NULL


cdef void _on_hello(Desk* self, int32_t peer, const HelloRecord* hello, const char* name, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef WelcomeRecord welcome
    cdef const char* why
    cdef char room[200]
    cdef uint32_t reason = 0
    cdef int kept
    why = _unwelcome(self, row, hello, name, &reason, room, sizeof(room))
    if why != NULL:
        _turn_away(self, peer, reason, name, hello.length, why)
        return
    relays_name(row, name, hello.length)
    row.pid = hello.pid
    row.number = hello.number
    row.relays = hello.relays != 0
    row.session = hello.session | DIALLED_US if hello.session else 0
    # While this one is not among those who are told: its WELCOME comes first, and says the same.
    relays_tell(self, now)
    if hello.role == ASKER:
        kept = relays_join_asker(self, peer, now)
    else:
        kept = relays_join_doer(self, peer, hello.capacity, hello.window, hello.device, now)
    if kept < 0:
        _drop_peer(self, peer, LEFT_PLANNED, now)
        return
    memset(&welcome, 0, sizeof(welcome))
    welcome.peer = <uint32_t> peer
    welcome.tasks = self.credit_tasks
    welcome.bytes = self.loop_credit if row.relays else self.credit_bytes
    welcome.beat_ms = <uint32_t> (self.lease * 1000)
    welcome.pid = self.pid
    welcome.python = self.python
    welcome.window = relays_offer(self, welcome.capacity)
    welcome.length = <uint32_t> strlen(self.name)
    peers_tell(&self.peers, peer, WELCOME, &welcome, sizeof(welcome), self.name, welcome.length)
    if row.state == ASKING and row.relays:
        returns_tell_held(self, peer, now)
    self.news = True
    if self.closing and row.state == DOING and not row.relays:
        peers_tell(&self.peers, peer, STOP, NULL, 0, NULL, 0)


cdef int32_t _place(Desk* self, const Peer* row, uint64_t token) noexcept nogil:
    """The doer that a peer is for this task: a node is one for each kind of place."""
    cdef int32_t doer
    if row.relays:
        doer = scheduler_doer_of(self.scheduler, token)
        if doer >= 0 and self.doer_peers[doer] == <int32_t> (row - self.peers.rows):
            return doer
    return row.index


cdef void _on_function(Desk* self, Peer* row, const FunctionRecord* record, Bale* bale) noexcept nogil:
    cdef int32_t body
    if catalogue_find(&row.functions, record.number) >= 0:
        row.faults += 1
        return
    body = bodies_learn(&self.bodies, record, bale)
    if body >= 0 and catalogue_put(&row.functions, record.number, body) < 0:
        desk_release_body(self, body, 1, 0)


cdef void _on_tasks(Desk* self, int32_t peer, Bale* bale, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef unsigned char* start = bale.frames[0].data
    cdef unsigned char* at = start + sizeof(Header)
    cdef unsigned char* end = start + bale.frames[0].size
    cdef TaskRecord* task
    cdef OutcomeRecord* outcome
    cdef Cargo cargo
    cdef int32_t body
    cdef int32_t taken
    cdef uint64_t behind = bale_size(bale) - bale.frames[0].size
    cdef bint named = self.absent.count or self.kept.count or self.claims.count
    cargo.bale = bale
    while at < end:
        task = <TaskRecord*> at
        at += sizeof(TaskRecord)
        body = catalogue_find(&row.functions, task.function)
        cargo.offset = <uint32_t> (at - start)
        # Of a task with frames behind it there is no other in its message.
        cargo.length = <uint32_t> min(task.length + behind, <uint64_t> 0xffffffff)
        at += task.length
        if named and task.name and returns_meet(self, row, peer, task):
            continue
        taken = -1
        if body >= 0:
            taken = scheduler_on_task(
                self.scheduler, row.index, task.ticket, body, task.needs, task.share, task.priority, task.flags,
                task.retries, task.crashes, task.attempts, task.timeout_ms, task.retry_wait_ms, &cargo, now)
        if taken >= 0:
            bale_hold(bale)
            self.bodies.rows[body].tasks += 1
            # The bale is ours: from here on its records name our function rows.
            task.function = <uint32_t> body
            if 0 < task.share < self.least_share and task.needs >> GPU & 1:
                # The keeper may have to start more slots on each GPU.
                self.least_share = task.share
                desk_add_errand(self, SHARE_SOUGHT, task.share, NULL)
            if named and task.name:
                returns_claim(self, taken, task, now)
        elif taken != DUPLICATE or body < 0:
            outcome = <OutcomeRecord*> peers_record(&self.peers, peer, OUTCOMES, sizeof(OutcomeRecord))
            if outcome != NULL:
                memset(outcome, 0, sizeof(OutcomeRecord))
                outcome.ticket = task.ticket
                outcome.status = REFUSED


cdef void _on_outcomes(Desk* self, Peer* row, Bale* bale, double now) noexcept nogil:
    cdef unsigned char* start = bale.frames[0].data
    cdef unsigned char* at = start + sizeof(Header)
    cdef unsigned char* end = start + bale.frames[0].size
    cdef OutcomeRecord* outcome
    cdef unsigned char* copy
    cdef Verdict verdict
    cdef uint64_t token
    cdef int32_t asker = -1
    cdef bint mixed = False
    cdef uint32_t i = 0
    if row.draining:
        # It ends here what it still has, and each of those was offered as a place.
        self.offer_is_old = True
    while at < end:
        outcome = <OutcomeRecord*> at
        at += sizeof(OutcomeRecord) + outcome.length
        token = outcome.ticket
        verdict = scheduler_on_outcome(
            self.scheduler, _place(self, row, token), token, outcome.status, outcome.flags & FINAL != 0, outcome.run_us, now)
        self.whose[i] = -1
        if verdict.ruling == ACCEPTED:
            if self.asker_peers[verdict.asker] < 0:
                returns_keep(self, &verdict, token, bale, <uint32_t> (<unsigned char*> outcome - start), now)
            elif (self.blames != NULL or verdict.raised) and outcome.status in (
                    POISONED, LOST, BROKEN, MAYBE_RAN, OUT_OF_MEMORY):
                # What was tried from here stands before what was tried below.
                departures_end(
                    self, verdict.asker, verdict.ticket, outcome.status, outcome.attempt, verdict.raised,
                    <unsigned char*> (outcome + 1), outcome.length)
            else:
                self.whose[i] = verdict.asker
            outcome.ticket = verdict.ticket
            if self.blames != NULL:
                desk_forget_blames(self, verdict.asker, verdict.ticket)
            desk_cargo_done(self, &verdict.cargo)
        if i == 0:
            asker = self.whose[0]
        mixed = mixed or self.whose[i] != asker
        i += 1
    if not mixed:
        # The common case costs no copy: the tickets are the asker's now, the message goes on as it is.
        if asker >= 0:
            peers_close_batch(&self.peers, self.asker_peers[asker], 0, NULL)
            peers_post(&self.peers, self.asker_peers[asker], letter_of_bale(bale))
        return
    at = start + sizeof(Header)
    i = 0
    while at < end:
        outcome = <OutcomeRecord*> at
        if self.whose[i] >= 0:
            copy = peers_record(
                &self.peers, self.asker_peers[self.whose[i]], OUTCOMES, sizeof(OutcomeRecord) + outcome.length)
            if copy != NULL:
                memcpy(copy, at, sizeof(OutcomeRecord) + outcome.length)
        at += sizeof(OutcomeRecord) + outcome.length
        i += 1


cdef int32_t _whose(const Desk* self, uint64_t token, uint64_t* ticket) noexcept nogil:
    """Who asked for the task of a token, and under which ticket; -1: nobody wants it any more, or its asker is away."""
    cdef int32_t asker = -1
    if not scheduler_find(self.scheduler, token, &asker, ticket) or asker < 0:
        return -1
    return self.asker_peers[asker]


cdef void _on_started(Desk* self, Peer* row, const uint64_t token, double now) noexcept nogil:
    cdef uint64_t ticket
    cdef int32_t peer
    cdef TicketRecord* record
    scheduler_on_started(self.scheduler, _place(self, row, token), token, now)
    peer = _whose(self, token, &ticket)
    if peer >= 0:
        record = <TicketRecord*> peers_record(&self.peers, peer, STARTED, sizeof(TicketRecord))
        if record != NULL:
            record.ticket = ticket


cdef void _on_output(Desk* self, const OutputRecord* record) noexcept nogil:
    cdef OutputRecord copy = record[0]
    cdef uint64_t ticket
    cdef int32_t peer
    cdef uint32_t i
    if record.ticket:
        peer = _whose(self, record.ticket, &ticket)
        if peer >= 0:
            copy.ticket = ticket
            peers_tell(&self.peers, peer, OUTPUT, &copy, sizeof(copy), <const char*> (record + 1), record.length)
        return
    # Printed outside any task, by an initializer or a thread: every asker may want to see it.
    for i in range(self.peers.room):
        if self.peers.rows[i].state == ASKING:
            peers_tell(&self.peers, <int32_t> i, OUTPUT, &copy, sizeof(copy), <const char*> (record + 1), record.length)


cdef void _on_note(Desk* self, int32_t asker, const NoteRecord* record) noexcept nogil:
    """`asker`: who wrote it to its task; -1: the task wrote it."""
    cdef NoteRecord copy = record[0]
    cdef uint64_t ticket = 0
    cdef int32_t to = -1
    cdef int32_t doer
    if asker >= 0:
        doer = scheduler_where(self.scheduler, asker, record.ticket, &ticket)
        to = self.doer_peers[doer] if doer >= 0 else -1
    else:
        to = _whose(self, record.ticket, &ticket)
    if to >= 0:
        copy.ticket = ticket
        peers_tell(&self.peers, to, NOTE, &copy, sizeof(copy), <const char*> (record + 1), record.length)


cdef void _drop_peer(Desk* self, int32_t peer, int why, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef int kind
    cdef uint32_t i
    # Orders given before name numbers that the next to join may get.
    departures_carry_out(self, now)
    if row.state == ASKING:
        self.above -= row.relays
        self.asker_peers[row.index] = -1
        if row.session and row.relays and why == LEFT_LOST:
            # It may come back and ask again.
            returns_on_asker_away(self, row, now)
        else:
            scheduler_on_asker_left(self.scheduler, row.index, now)
        desk_forget_blames_of(self, row.index)
        for i in range(row.functions.room):
            if row.functions.entries[i].index >= 0:
                desk_release_body(self, row.functions.entries[i].index, 1, 0)
    elif row.state == DYING:
        self.dying -= 1
    if row.state == DOING or row.state == DYING:
        self.offer_is_old = True
        for kind in range(RESOURCES):
            if row.places[kind] < 0:
                continue
            scheduler_on_doer_left(self.scheduler, row.places[kind], why, now)
            # The orders that name this doer are carried out while its row still says who it was.
            departures_carry_out(self, now)
            self.doer_peers[row.places[kind]] = -1
    self.news = True
    peers_remove(&self.peers, peer)


cdef void arrivals_cut_off(Desk* self, int32_t peer, double now) noexcept nogil:
    _drop_peer(self, peer, LEFT_LOST, now)


cdef void _on_bye(Desk* self, int32_t peer, const RefuseRecord* record, Bale* bale, double now) noexcept nogil:
    cdef const Peer* row = &self.peers.rows[peer]
    cdef uint32_t i
    # Of a slot alone: what the error is sealed in, every client opens, and a client may not send others anything.
    if record.reason == SETUP_FAILED and bale.count == 2 and not row.relays and (row.state == DOING or row.state == DYING):
        desk_add_errand(self, SETUP_BROKE, row.pid, bale)
        for i in range(self.peers.room):
            if self.peers.rows[i].state == ASKING:
                peers_close_batch(&self.peers, <int32_t> i, 0, NULL)
                peers_post(&self.peers, <int32_t> i, letter_of_bale(bale))
    desk_farewell(self, peer, b"it has left", 0)
    _drop_peer(self, peer, LEFT_PLANNED, now)


cdef void _on_refusal(Desk* self, int32_t peer, const RefuseRecord* record, const char* text, double now) noexcept nogil:
    """The other end of a connection that we dialled will not have us."""
    cdef char why[200]
    cdef bint is_known = record.reason != WHO_ARE_YOU
    snprintf(
        why, sizeof(why), "%s%.*s", b"it turns us away: " if is_known else b"",
        <int> min(record.length, <uint32_t> sizeof(why) - 1), text)
    desk_farewell(self, peer, why, REFUSED_PATIENCE if is_known else 0)
    _drop_peer(self, peer, LEFT_LOST, now)


cdef int _piece(Desk* self, int32_t peer, Bale** bale) noexcept nogil:
    """A part of a message has come. Once it is whole it stands in place of the part: its kind; PIECES before that."""
    cdef uint64_t size = pieces_size(bale[0])
    cdef Bale* whole = NULL
    cdef int joined
    cdef int kind
    joined = pieces_add(&self.peers.rows[peer].pieces, bale[0], &whole)
    pressure_taken(self, peer, size)
    if joined == NOT_YET:
        return PIECES
    if joined == WRONG:
        return BAD_FIELD
    bale_drop(bale[0])
    bale[0] = whole
    kind = wire_check(whole.frames[0].data, whole.frames[0].size, whole.count - 1)
    # Not in itself again.
    return BAD_FIELD if kind == PIECES else kind


cdef void arrivals_receive(
        Desk* self, const uint8_t* route, size_t route_size, int allowed, Bale* bale, double now) noexcept nogil:
    cdef int kind = wire_check(bale.frames[0].data, bale.frames[0].size, bale.count - 1)
    cdef int32_t peer = peers_find(&self.peers, route, route_size)
    cdef int place
    self.messages_in += 1
    if kind == PIECES and peer >= 0 and self.peers.rows[peer].state != STRANGER:
        kind = _piece(self, peer, &bale)
    elif kind > 0:
        bale = pressure_fit(self, bale)
    if peer < 0:
        # A stranger may only introduce himself. One who thinks that he is known is told otherwise, once.
        if kind > 0 or kind == OTHER_VERSION:
            peer = peers_add(&self.peers, route, route_size)
        if peer < 0:
            self.malformed += 1
        elif kind == HELLO and (<Header*> bale.frames[0].data).count == 1:
            self.peers.rows[peer].allowed = <uint8_t> allowed
            _receive(self, peer, kind, bale, now)
        elif kind == OTHER_VERSION:
            self.malformed += 1
            _turn_away(
                self, peer, BAD_VERSION, b"a caller", 8,
                b"another version of covey's protocol is spoken here: use the same covey on both sides")
        else:
            _refuse(self, peer, WHO_ARE_YOU, b"this link is not known here any more")
    elif kind < 0:
        self.malformed += 1
        self.peers.rows[peer].faults += 1
    else:
        if self.peers.rows[peer].state == DOING:
            for place in range(RESOURCES):
                if self.peers.rows[peer].places[place] >= 0:
                    scheduler_on_heard(self.scheduler, self.peers.rows[peer].places[place], now)
        if kind != PIECES:
            _receive(self, peer, kind, bale, now)
    if peer >= 0 and self.peers.rows[peer].faults >= FAULTS_MAX and (
            kind < 0 or self.peers.rows[peer].state == ASKING or self.peers.rows[peer].state == DOING):
        # Not one who is no longer known and has yet to hear of it: what it sends meanwhile is no fault of its own.
        desk_farewell(
            self, peer, b"what it sends is not covey's protocol, or another version of it, or not for its role", REFUSED_PATIENCE)
        _drop_peer(self, peer, LEFT_LOST, now)
    bale_drop(bale)


cdef void _receive(Desk* self, int32_t peer, int kind, Bale* bale, double now) noexcept nogil:
    """Each kind belongs to one role; from the other one it is a fault."""
    cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
    cdef uint32_t count = (<Header*> bale.frames[0].data).count
    cdef Peer* row = &self.peers.rows[peer]
    cdef bint asks = row.state == ASKING
    cdef bint does = row.state == DOING or row.state == DYING
    cdef int32_t body
    cdef uint32_t i
    if kind == TASKS and asks:
        if now >= self.settled_at or not returns_defer(self, peer, bale, now):
            _on_tasks(self, peer, bale, now)
    elif kind == OUTCOMES and does:
        _on_outcomes(self, row, bale, now)
    elif kind == HELLO and row.state == STRANGER:
        _on_hello(self, peer, <HelloRecord*> at, <const char*> at + sizeof(HelloRecord), now)
    elif kind == FUNCTION and asks and count == 1:
        _on_function(self, row, <FunctionRecord*> at, bale)
    elif kind == FORGET and asks:
        for i in range(count):
            body = catalogue_take(&row.functions, (<ForgetRecord*> at)[i].number)
            if body >= 0:
                desk_release_body(self, body, 1, 0)
    elif kind == CANCEL and asks:
        for i in range(count):
            scheduler_on_cancel(
                self.scheduler, row.index, (<CancelRecord*> at)[i].ticket, ((<CancelRecord*> at)[i].flags & FORCE) != 0, now)
    elif kind == STARTED and does:
        for i in range(count):
            _on_started(self, row, (<TicketRecord*> at)[i].ticket, now)
    elif kind == RETRACTED and does:
        for i in range(count):
            scheduler_on_given_back(
                self.scheduler, _place(self, row, (<RetractedRecord*> at)[i].ticket), (<RetractedRecord*> at)[i].ticket,
                (<RetractedRecord*> at)[i].given_back != 0, now)
    elif kind == OUTPUT and does:
        for _ in range(count):
            _on_output(self, <OutputRecord*> at)
            at += sizeof(OutputRecord) + (<OutputRecord*> at).length
    elif kind == NOTE and (asks or does):
        for _ in range(count):
            _on_note(self, row.index if asks else -1, <NoteRecord*> at)
            at += sizeof(NoteRecord) + (<NoteRecord*> at).length
    elif kind == RETRACT and asks:
        for i in range(count):
            scheduler_on_retract(self.scheduler, row.index, (<TicketRecord*> at)[i].ticket, now)
    elif kind == CREDIT and does and row.relays and count:
        # What was offered several times in one turn is one message; the latest word counts.
        relays_on_credit(self, peer, &(<CreditRecord*> at)[count - 1], now)
    elif kind == HELD and does and row.relays:
        returns_on_held(self, peer, <HeldRecord*> at, count, now)
    elif kind == QUERY and asks and count == 1:
        inquiries_on_query(self, peer, bale)
    elif kind == ANSWER and does and count == 1:
        inquiries_on_answer(self, peer, bale)
    elif kind == LEAVING and row.state == DOING and row.relays:
        relays_drain(self, peer, now)
    elif kind == WELCOME and row.state == GREETING and count == 1:
        relays_on_welcome(self, peer, <WelcomeRecord*> at, <const char*> at + sizeof(WelcomeRecord), now)
    elif kind == REFUSE and count == 1 and desk_port_of(row) >= FIRST_DIAL:
        _on_refusal(self, peer, <RefuseRecord*> at, <const char*> at + sizeof(RefuseRecord), now)
    elif kind == STOP and asks and row.relays:
        # A caller who is done ends his machines; a broker that he shares with others is none of them.
        if not self.shared or desk_port_of(row) >= FIRST_DIAL:
            desk_add_errand(self, LEAVE, 0, NULL)
    elif kind == TAKEN and row.state != STRANGER:
        for i in range(count):
            transit_on_taken(&row.transit, (<TakenRecord*> at)[i].bytes, now)
        # The next pieces may go.
        peers_touch(&self.peers, peer)
    elif kind == BYE and count == 1 and row.state != STRANGER:
        _on_bye(self, peer, <RefuseRecord*> at, bale, now)
    elif count:
        row.faults += 1
        self.malformed += 1


cdef void _begin_dying(Desk* self, Peer* row, double judged_at) noexcept nogil:
    row.state = DYING
    row.judged_at = judged_at
    row.died_under = UNKNOWN_TASK
    self.dying += 1


cdef void arrivals_slot_died(
        Desk* self, uint32_t pid, uint64_t token, bint starved, const char* report, double now) noexcept nogil:
    cdef Peer* row
    cdef uint32_t i
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.pid == pid and (row.state == DOING or (row.state == DYING and row.lost)):
            if row.state == DOING:
                _begin_dying(self, row, now + LAST_WORDS)
            row.lost = False
            row.judged_at = now + LAST_WORDS
            row.died_under = token
            row.starved = starved
            row.report = strdup(report)


cdef int _why_it_left(Desk* self, Peer* row, double now) noexcept nogil:
    cdef int32_t asker
    cdef uint64_t ticket
    if row.lost and not row.killed:
        return LEFT_LOST
    scheduler_on_died_under(self.scheduler, row.index, row.died_under, now)
    if row.killed:
        return LEFT_KILLED
    if row.died_under == UNKNOWN_TASK:
        return LEFT_OOM if row.starved else LEFT_CRASHED
    if row.died_under == NO_TASK:
        return LEFT_OOM if row.starved else LEFT_IDLE
    # What ran is known exactly; it may have been finished, or cancelled, since.
    if not scheduler_find(self.scheduler, row.died_under, &asker, &ticket):
        return LEFT_PLANNED
    return LEFT_OOM if row.starved else LEFT_CRASHED


cdef void arrivals_judge_the_dead(Desk* self, double now) noexcept nogil:
    cdef Peer* row
    cdef uint32_t i
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state != DYING or row.judged_at > now:
            continue
        _drop_peer(self, <int32_t> i, _why_it_left(self, row, now), now)
    if not self.silent:
        return
    self.silent = False
    for i in range(self.peers.room):
        if self.peers.rows[i].state == DOING and self.peers.rows[i].silent:
            desk_farewell(self, <int32_t> i, b"nothing was heard from it for too long", 0)
            _drop_peer(self, <int32_t> i, LEFT_LOST, now)


cdef void arrivals_unreachable(Desk* self, int32_t peer, double now) noexcept nogil:
    cdef uint8_t state = self.peers.rows[peer].state
    if state == DYING:
        # The judgement comes in its time.
        return
    if state == DOING and not self.peers.rows[peer].relays:
        # Its process has died or is dying (a core is being written, perhaps). The keeper will say how, and what ran;
        # should it not, the link counts as lost.
        _begin_dying(self, &self.peers.rows[peer], now + KEEPER_PATIENCE)
        self.peers.rows[peer].lost = True
        return
    if state == STRANGER:
        peers_remove(&self.peers, peer)
        return
    _drop_peer(self, peer, LEFT_LOST, now)


cdef void arrivals_settle(Desk* self, double now) noexcept nogil:
    cdef Bale* bale = NULL
    cdef int32_t peer = returns_next_deferred(self, &bale, now)
    while peer >= 0:
        _on_tasks(self, peer, bale, now)
        bale_drop(bale)
        peer = returns_next_deferred(self, &bale, now)

# SPDX-License-Identifier: BSD-3-Clause
"""See tables.pxd, the contents page."""
from libc.stdint cimport UINT32_MAX
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

cdef extern from *:
    """
    #define covey_refuse_to_compile_unless(ok) ((void) sizeof(char[(ok) ? 1 : -1]))
    """
    void covey_refuse_to_compile_unless(bint ok) noexcept nogil

cdef enum:
    FIRST_ROOM = 64
    MOST_ROWS = 0x40000000      # an index fits int32, and twice as much fits uint32
    MOST_FUNCTIONS = 0x1000000
    MOST_DEVICES = 0x10000


# `room` rows of `size` bytes grown to at least `need`, the new ones zeroed if `zero`; NULL (and nothing changed)
# when memory is out or the table may not grow any more.
cdef void* _grown(void* table, uint32_t* room, uint32_t need, size_t size, bint zero) noexcept nogil:
    cdef uint32_t more = room[0] * 2 if room[0] else FIRST_ROOM
    cdef void* bigger
    while more < need:
        more *= 2
    if need > MOST_ROWS or more > MOST_ROWS:
        return NULL
    bigger = realloc(table, more * size)
    if bigger == NULL:
        return NULL
    if zero:
        memset(<char*> bigger + room[0] * size, 0, (more - room[0]) * size)
    room[0] = more
    return bigger


cdef void _list_init(List* list) noexcept nogil:
    list.head = -1
    list.tail = -1
    list.length = 0


cdef uint32_t _ticks(double seconds) noexcept nogil:
    cdef double ticks = seconds * TICKS_A_SECOND
    if ticks >= <double> LONGEST:
        return LONGEST
    return <uint32_t> ticks if ticks >= 1.0 else 1


cdef Scheduler* tables_new(const Limits* limits) noexcept nogil:
    cdef Scheduler* self = <Scheduler*> calloc(1, sizeof(Scheduler))
    cdef int i, k
    covey_refuse_to_compile_unless(sizeof(TaskRow) <= 80)
    covey_refuse_to_compile_unless(sizeof(Order) <= 96)
    if self == NULL:
        return NULL
    self.limits = limits[0]
    # A GPU runs one task at least.
    self.limits.slots_per_gpu = max(limits.slots_per_gpu, <uint32_t> 1)
    self.lone_cost = _ticks(limits.lone_above)
    self.first_cost = _ticks(limits.first_guess)
    self.bucket_low = FIRST_ROOM
    self.buckets = <int32_t*> malloc(2 * FIRST_ROOM * sizeof(int32_t))
    if self.buckets == NULL:
        free(self)
        return NULL
    memset(self.buckets, 0xff, 2 * FIRST_ROOM * sizeof(int32_t))
    self.task_free = -1
    self.doer_free = -1
    self.asker_free = -1
    self.tick = -1.0
    self.loner = -1
    _list_init(&self.hungry)
    _list_init(&self.resting)
    for i in range(MASKS):
        _list_init(&self.lines[i].suspects)
    for i in range(KINDS):
        for k in range(PLACES):
            _list_init(&self.pools[i].places[k])
        _list_init(&self.pools[i].laden)
        self.pools[i].reserved = -1
        self.pools[i].runner = -1
    return self


cdef void tables_free(Scheduler* self) noexcept nogil:
    cdef uint32_t a
    cdef int i
    if self == NULL:
        return
    for a in range(self.asker_used):
        for i in range(MASKS):
            free(self.askers[a].shares[i].lanes)
    for i in range(KINDS):
        free(self.pools[i].heap)
    free(self.tasks)
    free(self.tries)
    free(self.buckets)
    free(self.doers)
    free(self.place_links)
    free(self.laden_links)
    free(self.device_links)
    free(self.devices)
    free(self.askers)
    free(self.functions)
    free(self.dues)
    free(self.orders)
    free(self)


cdef int32_t task_new(Scheduler* self) noexcept nogil:
    cdef int32_t task = self.task_free
    cdef uint32_t birth
    cdef TaskRow* row
    cdef void* bigger
    if task >= 0:
        row = &self.tasks[task]
        self.task_free = row.chain
        birth = (row.birth + 1) & 0xffffff
    else:
        if self.task_used == self.task_room:
            bigger = _grown(self.tasks, &self.task_room, self.task_used + 1, sizeof(TaskRow), False)
            if bigger == NULL:
                return -1
            self.tasks = <TaskRow*> bigger
        task = <int32_t> self.task_used
        self.task_used += 1
        row = &self.tasks[task]
        birth = 0
    memset(row, 0, sizeof(TaskRow))
    row.birth = birth
    row.asker = -1
    row.doer = -1
    self.task_count += 1
    return task


cdef void task_free(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    row.state = FREE
    # The last one freed is the next one used: it is still in the cache.
    row.chain = self.task_free
    self.task_free = task
    self.task_count -= 1


cdef int try_note(Scheduler* self, int32_t task, uint32_t wait_ms) noexcept nogil:
    cdef uint32_t known = self.try_room
    cdef void* bigger
    if <uint32_t> task >= known:
        bigger = _grown(self.tries, &self.try_room, <uint32_t> task + 1, sizeof(TryRow), False)
        if bigger == NULL:
            return -1
        self.tries = <TryRow*> bigger
        # No row has that birth.
        memset(self.tries + known, 0xff, (self.try_room - known) * sizeof(TryRow))
    self.tries[task].birth = self.tasks[task].birth
    self.tries[task].wait_ms = wait_ms
    self.tries[task].raised = 0
    self.tries[task].hunger = 0
    return 0


cdef uint32_t hunger_grow(Scheduler* self, int32_t task) noexcept nogil:
    self.tasks[task].marks |= HUNGRY
    if try_of(self, task) == NULL and try_note(self, task, 0) < 0:
        return UINT32_MAX
    self.tries[task].hunger += self.tries[task].hunger < 255
    return self.tries[task].hunger


cdef int32_t doer_new(Scheduler* self) noexcept nogil:
    cdef int32_t doer = self.doer_free
    cdef uint32_t birth, room
    cdef void* bigger
    if doer >= 0:
        self.doer_free = self.doers[doer].head
        birth = self.doers[doer].birth + 1
    else:
        if self.doer_used == self.doer_room:
            # Four arrays, one room: the last to grow tells it, so that a failure in between leaves all of them usable.
            room = self.doer_room
            bigger = _grown(self.place_links, &room, self.doer_used + 1, sizeof(Link), False)
            if bigger == NULL:
                return -1
            self.place_links = <Link*> bigger
            room = self.doer_room
            bigger = _grown(self.laden_links, &room, self.doer_used + 1, sizeof(Link), False)
            if bigger == NULL:
                return -1
            self.laden_links = <Link*> bigger
            room = self.doer_room
            bigger = _grown(self.device_links, &room, self.doer_used + 1, sizeof(Link), False)
            if bigger == NULL:
                return -1
            self.device_links = <Link*> bigger
            bigger = _grown(self.doers, &self.doer_room, self.doer_used + 1, sizeof(DoerRow), False)
            if bigger == NULL:
                return -1
            self.doers = <DoerRow*> bigger
        doer = <int32_t> self.doer_used
        self.doer_used += 1
        birth = 0
    memset(&self.doers[doer], 0, sizeof(DoerRow))
    self.doers[doer].head = -1
    self.doers[doer].tail = -1
    self.doers[doer].upcoming = -1
    self.doers[doer].device = -1
    self.doers[doer].birth = birth
    self.doers[doer].alive = 1
    self.doer_count += 1
    return doer


cdef void doer_free(Scheduler* self, int32_t doer) noexcept nogil:
    self.doers[doer].alive = 0
    self.doers[doer].head = self.doer_free
    self.doer_free = doer
    self.doer_count -= 1


cdef int32_t asker_new(Scheduler* self) noexcept nogil:
    cdef int32_t asker = self.asker_free
    cdef uint32_t room
    cdef void* bigger
    cdef int i
    if asker >= 0:
        self.asker_free = self.askers[asker].chain
    else:
        if self.asker_used == self.asker_room:
            for i in range(KINDS):
                room = self.asker_room
                bigger = _grown(self.pools[i].heap, &room, self.asker_used + 1, sizeof(int32_t), False)
                if bigger == NULL:
                    return -1
                self.pools[i].heap = <int32_t*> bigger
            bigger = _grown(self.askers, &self.asker_room, self.asker_used + 1, sizeof(AskerRow), False)
            if bigger == NULL:
                return -1
            self.askers = <AskerRow*> bigger
        asker = <int32_t> self.asker_used
        self.asker_used += 1
    memset(&self.askers[asker], 0, sizeof(AskerRow))
    for i in range(KINDS):
        self.askers[asker].turns[i].spot = -1
    self.askers[asker].alive = 1
    self.asker_count += 1
    return asker


cdef void asker_free(Scheduler* self, int32_t asker) noexcept nogil:
    cdef int i
    for i in range(MASKS):
        free(self.askers[asker].shares[i].lanes)
        self.askers[asker].shares[i].lanes = NULL
    self.askers[asker].alive = 0
    self.askers[asker].chain = self.asker_free
    self.asker_free = asker
    self.asker_count -= 1


cdef FunctionRow* function_row(Scheduler* self, int32_t function) noexcept nogil:
    cdef void* bigger
    if function < 0 or function >= MOST_FUNCTIONS:
        return NULL
    if <uint32_t> function >= self.function_room:
        bigger = _grown(self.functions, &self.function_room, <uint32_t> function + 1, sizeof(FunctionRow), True)
        if bigger == NULL:
            return NULL
        self.functions = <FunctionRow*> bigger
    return &self.functions[function]


cdef Device* device_row(Scheduler* self, int32_t device) noexcept nogil:
    cdef uint32_t known = self.device_room
    cdef void* bigger
    if device < 0 or device >= MOST_DEVICES:
        return NULL
    if <uint32_t> device >= known:
        bigger = _grown(self.devices, &self.device_room, <uint32_t> device + 1, sizeof(Device), True)
        if bigger == NULL:
            return NULL
        self.devices = <Device*> bigger
        for known in range(known, self.device_room):
            _list_init(&self.devices[known].doers)
    return &self.devices[device]


cdef Order* order_new(Scheduler* self, int kind) noexcept nogil:
    cdef void* bigger
    cdef Order* order
    if self.order_tail == self.order_room:
        bigger = _grown(self.orders, &self.order_room, self.order_tail + 1, sizeof(Order), False)
        if bigger == NULL:
            return NULL
        self.orders = <Order*> bigger
    order = &self.orders[self.order_tail]
    self.order_tail += 1
    memset(order, 0, sizeof(Order))
    order.kind = kind
    order.doer = -1
    order.asker = -1
    return order

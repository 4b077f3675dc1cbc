# SPDX-License-Identifier: BSD-3-Clause
"""See limits.pxd, the contents page."""
from libc.stdint cimport uint64_t

from covey.broker.orders cimport Limits


cdef Limits limits_of(object settings, uint64_t seed) except *:
    cdef Limits limits
    limits.quantum = settings.quantum
    limits.relay_quantum = settings.relay_quantum
    limits.lone_above = settings.lone_above
    limits.retract_after = settings.retract_after
    limits.lease = settings.lease
    limits.pause = settings.pause
    limits.first_guess = settings.first_guess
    limits.crash_limit = settings.crash_limit
    limits.loss_limit = settings.loss_limit
    limits.credit_tasks = settings.credit_tasks
    limits.credit_bytes = settings.credit_bytes
    limits.oom_limit = settings.oom_limit
    limits.slots_per_gpu = settings.slots_per_gpu
    limits.retry_wait_limit = settings.retry_wait_limit
    limits.seed = seed
    return limits

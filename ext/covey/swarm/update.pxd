# SPDX-License-Identifier: BSD-3-Clause
"""The particle update, and what swarms learn from values: the two loops that run once for each evaluation.

    move    new velocity, new position, bounce at the bounds, in one pass over the particles that may move
    learn   own bests, leaders, covariance of what succeeded, in one pass over the values that came

Why: numpy makes thirty calls and as many temporary arrays of it, which at a dozen particles cost ten times the arithmetic.

May not know: ids, restarts, who evaluates. Guarantees: a position stays within its bounds and finite, whatever the
velocity was; the numbers of a particle depend on (seed, particle, its own step) alone.
"""

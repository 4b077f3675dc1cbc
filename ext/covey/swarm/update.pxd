# SPDX-License-Identifier: BSD-3-Clause
"""The particle update, and what a swarm learns from values: the loops that run for every evaluation.

    attempt   new velocities and positions for the next tries, each particle in turn
    learn     where particles go, own bests, the leader, the covariance of what succeeded
    clarify   what of that covariance is clear enough to be followed

Why: numpy makes thirty calls and as many temporary arrays of it, which for a dozen particles cost ten times the
arithmetic.

A tag is life << 48 | step << 16 | particle: `life` grows when a swarm begins anew, `step` when a particle has moved. NOBODY as
a particle marks a start.

May not know: ids, restarts, who evaluates. Guarantees: a position stays within its bounds and finite, whatever the
velocity was; the numbers of a try depend on (seed, particle, its number among the particle's tries) alone.
"""

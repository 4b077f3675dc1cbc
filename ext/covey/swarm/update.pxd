# SPDX-License-Identifier: BSD-3-Clause
"""The particle update: new velocity, new position, bounce at the bounds, in one pass over the rows that move.

Why: numpy makes fifteen calls and as many temporary arrays of it, which at twenty particles cost more than the arithmetic.

May not know: values, bests, restarts. Guarantees: a position stays within its bounds and finite, whatever the
velocity was; the numbers of a particle depend on (seed, particle, its own step) alone.
"""

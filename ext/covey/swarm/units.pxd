# SPDX-License-Identifier: BSD-3-Clause
"""Inner positions in the user's units: the one loop that every point passes through on its way to the fitness.

    measure   scales, rounds where only whole numbers count, and keeps within bounds

Why: numpy makes four passes of it, which for a round of a hundred cost more than the update of the swarm.

May not know: names, logarithms, algorithms. Guarantees: what is measured lies within its bounds to the last bit.
"""

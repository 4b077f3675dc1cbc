# SPDX-License-Identifier: BSD-3-Clause
"""`make demo`: counts primes on every core, then says what that gained and how fast tasks move.

Why primes: the work is real, every piece of it is checked exactly (how many primes there are below a power of
ten has been known for long), and how much of it there is can be chosen so that a machine of any size is busy
for a few seconds.

Run it with `python examples/demo.py [--seconds S]`. The flock's own part is three lines: `Client`,
`distribute`, a call.
"""

import argparse
import math
import sys
import time
from typing import Any

import numpy

import covey

# A sieve of this many numbers fits into a core's own cache; so many pieces are exactly 100 million numbers.
PIECE = 2_000_000
HUNDRED_MILLION = 50
PIECES_IN_SAMPLE = 100

# π(10^k), from the tables.
KNOWN = {10**8: 5_761_455, 10**9: 50_847_534, 10**10: 455_052_511, 10**11: 4_118_054_813}


def small_primes(below: int) -> numpy.ndarray[Any, Any]:
    sieve = numpy.ones(below, dtype=bool)
    sieve[:2] = False
    for number in range(2, math.isqrt(below) + 1):
        sieve[number * number :: number] = False
    return numpy.flatnonzero(sieve)


def count_primes(piece: int, shared: dict[str, Any]) -> int:
    """How many primes there are in the piece with this number: a sieve over its odd numbers."""
    first = piece * PIECE
    odd = numpy.ones(PIECE // 2, dtype=bool)  # odd[i] is first + 2 i + 1
    for prime in shared["odd_primes"].tolist():
        if prime * prime >= first + PIECE:
            break
        start = max(prime * prime, -(-first // prime) * prime)
        if start % 2 == 0:
            start += prime
        odd[(start - first) // 2 :: prime] = False
    # 1 is counted though it is no prime, and 2 is one though it is not odd: that comes out even
    return int(numpy.count_nonzero(odd))


def nothing(x: int) -> int:
    return x


def serial_seconds(pieces: int, shared: dict[str, Any]) -> tuple[float, dict[int, int]]:
    """What one core needs for all pieces, from a sample spread over them; and the counts of the sample."""
    sample = sorted({pieces * number // PIECES_IN_SAMPLE for number in range(PIECES_IN_SAMPLE)})
    start = time.perf_counter()
    counts = {piece: count_primes(piece, shared) for piece in sample}
    return (time.perf_counter() - start) * pieces / len(sample), counts


def pieces_for(seconds: float, slots: int, shared: dict[str, Any]) -> int:
    """How many pieces keep all slots busy for about so long, in whole hundred millions of numbers."""
    pieces = HUNDRED_MILLION
    while (needed := serial_seconds(pieces, shared)[0]) < seconds * slots and pieces * PIECE < max(KNOWN):
        # a piece farther up costs more, so the guess is made again from where it led
        grown = pieces * min(4.0, seconds * slots / needed)
        more = math.ceil(grown / HUNDRED_MILLION) * HUNDRED_MILLION
        if more <= pieces * 1.1:
            break
        pieces = more
    return pieces


def burst(client: covey.Client, tasks: int = 200_000) -> float:
    """Tasks a second, each submitted by itself and with its own future."""
    start = time.perf_counter()
    futures = [client.submit(nothing, number) for number in range(tasks)]
    results = [future.result() for future in futures]
    seconds = time.perf_counter() - start
    if results != list(range(tasks)):
        raise SystemExit("demo: the burst's results are wrong")
    return tasks / seconds


def check(counts: list[int], alone: dict[int, int]) -> int:
    """Every piece of the sample as it was counted alone, and every power of ten as in the tables."""
    wrong = [piece for piece, count in alone.items() if counts[piece] != count]
    if wrong:
        raise SystemExit(f"demo: piece {wrong[0]} differs from the one counted alone")
    reached = max(below for below in KNOWN if below <= len(counts) * PIECE)
    if sum(counts[: reached // PIECE]) != KNOWN[reached]:
        raise SystemExit(f"demo: the count of primes below {reached:,} is wrong")
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description="count primes on every core")
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long all cores shall be busy")
    seconds = parser.parse_args().seconds
    shared = {"odd_primes": small_primes(math.isqrt(max(KNOWN)) + 1)[1:]}

    with covey.Client() as client:
        pieces = pieces_for(seconds, client.slots, shared)
        print(f"Counting the primes below {pieces * PIECE:,} on {client.slots} cores, {pieces:,} tasks.", flush=True)
        serial, alone = serial_seconds(pieces, shared)

        count = covey.distribute(count_primes, shared_data=shared, executor=client, progress=True)
        start = time.perf_counter()
        counts = count(range(pieces))
        parallel = time.perf_counter() - start

        reached = check(counts, alone)
        print(f"There are {sum(counts):,}.", end=" ")
        print(f"Checked: {len(alone)} pieces counted alone, and π({reached:,}) = {KNOWN[reached]:,}.")
        print(f"One core needs {serial:.1f} s (from {len(alone)} pieces), the flock took {parallel:.1f} s:", end=" ")
        print(f"{serial / parallel:.2f} times as fast on {client.slots} cores.")
        burst(client, 10_000)
        print(f"It moves {burst(client):,.0f} tasks a second, each with a future of its own.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

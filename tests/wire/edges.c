/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which ways through the code were taken, for a fuzzer.
 *
 * Why: gcc can call a function at every edge (-fsanitize=coverage=trace-pc) but brings none. This one is preloaded, so that
 * every module finds the same. It may not be compiled with that option itself.
 *
 * A way is known by its end and where it came from, hashed; two that hash alike count as one, and that costs a play that
 * would have been worth keeping, no more. How often a way was taken counts roughly, as 1, 2, 3, 4-7, 8-15 and so on.
 */
#include <stdint.h>
#include <string.h>

enum { ROOM = 1 << 16 };

static uint8_t taken[ROOM];
static uint8_t seen[ROOM];
static uintptr_t last;

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    uint8_t* at = &taken[(here ^ (here >> 16) ^ last) & (ROOM - 1)];
    *at += *at < 255;
    last = here >> 1;
}

static uint8_t roughly(uint8_t count)
{
    return count < 4 ? 1 << (count - 1) : count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;
}

/* How many ways were taken, since the last call, as they never were before. */
unsigned edges_news(void)
{
    unsigned news = 0;
    uint64_t eight;
    for (unsigned i = 0; i < ROOM; i += 8) {
        memcpy(&eight, taken + i, 8);
        if (!eight)
            continue;
        for (unsigned k = i; k < i + 8; k++) {
            uint8_t bit = taken[k] ? roughly(taken[k]) : 0;
            news += (bit & ~seen[k]) != 0;
            seen[k] |= bit;
            taken[k] = 0;
        }
    }
    last = 0;
    return news;
}

/* How many ways are known. */
unsigned edges_known(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ROOM; i++)
        count += seen[i] != 0;
    return count;
}

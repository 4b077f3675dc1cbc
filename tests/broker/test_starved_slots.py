# SPDX-License-Identifier: BSD-3-Clause
"""What a broker makes of a slot's end when the kernel has counted a lack of memory, and when it ran nothing, message by
message."""
import struct
from collections.abc import Iterator

import pytest

from covey.settings import Settings
from stage import BROKEN, MAYBE_RAN, ONCE, OUT_OF_MEMORY, POISONED, SPLITTABLE
from test_inquiries import ASKER, Post
from test_offers import slot_hello
from test_scheduler_once import ends, given, put, tokens
from waiting import wait_until

FORCE = 1


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    made.join(b"a", ASKER, b"above")
    made.bring(b"a", "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    yield made
    made.broker.release()


def die(post: Post, pid: int, token: bytes, *, starved: bool) -> None:
    post.broker.slot_died(pid, False, f"slot {pid} fell over", int.from_bytes(token, "little"), starved, 300 << 20)


def blames(post: Post) -> tuple[int, int, int]:
    totals = post.broker.totals()
    return totals["crashes"], totals["ooms"], totals["losses"]


def given_to(post: Post, pid: int) -> bytes:
    """The first task that a new slot gets, at once or when another's end is judged."""
    route = b"%d" % pid
    found = tokens(post, route, slot_hello(0, -1, pid))

    def came() -> bool:
        found.extend(given(post.fetch(), route))
        return bool(found)

    wait_until(came, post.broker.totals)
    token, *_ = found
    return token


@pytest.mark.parametrize("starved", [False, True])
def test_who_is_killed_by_force_is_not_blamed_whatever_the_kernel_has_counted(post: Post, starved: bool) -> None:
    put(post, 1, 2, flags=0)
    first = given_to(post, 41)
    assert post.kinds(post.bring(b"a", "CANCEL", struct.pack("<QI", 1, FORCE)), b"a") == ["OUTCOMES"]
    assert [(verb, pid) for verb, pid, _ in post.broker.take_orders()] == [("kill", 41)]
    die(post, 41, first, starved=starved)
    second = given_to(post, 42)
    wait_until(lambda: post.fetch() == {} and post.broker.totals()["doers"] == 1)
    assert blames(post) == (0, 0, 0)
    die(post, 42, second, starved=True)
    die(post, 43, given_to(post, 43), starved=True)
    # What waited behind it had its whole budget.
    assert ends(post) == {2: (OUT_OF_MEMORY, b"slot 42 fell over\t314572800\nslot 43 fell over\t314572800\n")}
    assert blames(post) == (0, 2, 0)


def test_what_was_cancelled_before_its_slot_starved_blames_nobody(post: Post) -> None:
    put(post, 1, flags=0)
    token = given_to(post, 41)
    post.bring(b"a", "CANCEL", struct.pack("<QI", 1, 0))
    die(post, 41, token, starved=True)
    put(post, 2, flags=0)
    given_to(post, 42)
    wait_until(lambda: post.fetch() == {} and post.broker.totals()["doers"] == 1)
    assert blames(post) == (0, 0, 0)


def test_what_was_on_its_way_to_a_slot_that_died_idle_has_lost_it_and_was_not_its_end(post: Post) -> None:
    put(post, 1, flags=0)
    given_to(post, 41)
    die(post, 41, b"", starved=False)
    token = given_to(post, 42)
    assert blames(post) == (0, 0, 1)
    # Its budget of crashes is whole.
    die(post, 42, token, starved=False)
    die(post, 43, given_to(post, 43), starved=False)
    given_to(post, 44)
    assert blames(post) == (2, 0, 1)


def test_a_slot_that_starved_on_what_it_was_given_is_told_like_one_that_starved_on_what_it_ran(post: Post) -> None:
    put(post, 1, flags=0)
    for pid in (41, 42):
        given_to(post, pid)
        die(post, pid, b"", starved=True)
    assert ends(post) == {1: (OUT_OF_MEMORY, b"slot 41 fell over\t314572800\nslot 42 fell over\t314572800\n")}


@pytest.mark.parametrize(("flags", "status"), [(0, POISONED), (SPLITTABLE, BROKEN)])
def test_what_no_slot_survives_being_given_ends(post: Post, flags: int, status: int) -> None:
    put(post, 1, flags=flags)
    for pid in range(1, Settings().loss_limit + 1):
        given_to(post, pid)
        die(post, pid, b"", starved=False)
    ((found, payload),) = ends(post).values()
    assert found == status
    assert payload.count(b"fell over\t") == Settings().loss_limit


def test_what_must_run_only_once_ends_with_the_slot_that_starved(post: Post) -> None:
    put(post, 1, flags=ONCE)
    token = given_to(post, 41)
    assert not post.broker.may_starve(int.from_bytes(token, "little"))
    die(post, 41, token, starved=True)
    assert ends(post) == {1: (MAYBE_RAN, b"slot 41 fell over\t314572800\n")}
    assert blames(post) == (0, 1, 0)

"""Threads beside the main one: in order, bounded, and what goes wrong anywhere is known everywhere."""

import threading
import time

import pytest

from semshard.threads import ahead, behind, ordered_map


def count():
    return sum(thread.is_alive() for thread in threading.enumerate())


def test_items_come_in_order_and_only_so_many_ahead():
    made = []

    def make():
        for i in range(20):
            made.append(i)
            yield i

    before = count()
    for i in ahead(make(), 2):
        time.sleep(0.002)
        assert len(made) <= i + 4  # two wait, one is in hand, one is being made
    assert made == list(range(20))
    assert count() == before


def test_what_fails_ahead_is_raised_here_and_what_came_before_it_may_come():
    def make():
        yield 1
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(ahead(make(), 2))


def test_nothing_is_made_any_more_once_nobody_wants_it():
    made, before = [], count()
    items = ahead((made.append(i) or i for i in range(1000)), 2)
    assert next(items) == 0
    items.close()
    assert len(made) <= 5
    assert count() == before


def test_all_that_is_put_is_consumed_before_the_block_ends():
    eaten = []

    def eat(items):
        for item in items:
            time.sleep(0.001)
            eaten.append(item)

    with behind(eat, 2) as put:
        for i in range(50):
            put(i)
            assert i - len(eaten) <= 4
    assert eaten == list(range(50))


def test_a_consumer_that_fails_stops_the_block_with_its_own_error():
    def eat(items):
        next(items)
        raise OSError("the disk is full")

    put_in = 0
    with pytest.raises(OSError, match="the disk is full"), behind(eat, 2) as put:
        for i in range(1000):
            put(i)
            put_in = i
    assert put_in < 10


def test_a_consumer_learns_that_the_block_failed_and_does_not_finish():
    finished = []

    def eat(items):
        list(items)
        finished.append(True)

    before = count()
    with pytest.raises(ZeroDivisionError), behind(eat, 2) as put:
        put(1)
        raise ZeroDivisionError
    assert not finished
    assert count() == before


def test_results_come_in_the_order_of_the_items():
    def slow(i):
        time.sleep(0.01 * (i % 3 == 0))
        return i

    assert list(ordered_map(slow, range(40))) == list(range(40))


def test_what_is_heavy_waits_until_what_went_before_is_taken():
    """At most the weight of 10 is held at a time; an item that is heavier alone goes through alone."""
    pulled, taken, ended = [], [], []

    def items():
        for weight in (4, 4, 4, 30, 1, 1):
            pulled.append(weight)
            yield weight
        ended.append(True)

    for weight in ordered_map(lambda item: item, items(), 8, lambda item: item, 10):
        taken.append(weight)
        held = pulled[len(taken) : None if ended else -1]  # the last is pulled, and waits to be let in
        assert sum(held) <= 10 or len(held) == 1
    assert taken == [4, 4, 4, 30, 1, 1]

"""Readers that wait for a position or a change: woken once, and forgotten when their time is over."""

from __future__ import annotations

import asyncio

from lab.service.waiting import WaitingReaders


def test_a_reader_whose_time_is_over_leaves_nothing_behind() -> None:
    async def story() -> None:
        readers = WaitingReaders(lambda: 3, lambda: 0)
        for _ in range(50):
            assert not await readers.changed(0.0)
            assert not await readers.reached(4, 0.0)
            assert await readers.reached(3, 0.0)
        assert not readers._for_change
        assert not readers._for_position

    asyncio.run(story())


def test_readers_of_far_positions_whose_time_is_over_are_forgotten() -> None:
    async def story() -> None:
        readers = WaitingReaders(lambda: 0, lambda: 0)
        patient = [asyncio.create_task(readers.reached(10**9 + place, 30.0)) for place in range(5)]
        await asyncio.sleep(0)
        for place in range(300):
            assert not await readers.reached(10**6 + place, 1e-6)
            assert len(readers._for_position) <= 2 * len(patient) + 1
        gone = [asyncio.create_task(readers.reached(10**6, 30.0)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert len(readers._for_position) <= 2 * len(patient) + 1
        # Those who still wait are all in it, in the order of a heap.
        readers._position = lambda: 10**9 + 2
        readers.wake()
        await asyncio.gather(*patient[:3])
        assert not any(task.done() for task in patient[3:])
        for task in patient[3:]:
            task.cancel()

    asyncio.run(story())


def test_a_reader_is_woken_by_what_it_waits_for() -> None:
    async def story() -> None:
        state = {"position": 0, "applied": 0}
        readers = WaitingReaders(lambda: state["position"], lambda: state["applied"])
        near, far = (asyncio.create_task(readers.reached(at_least, 30.0)) for at_least in (1, 2))
        change = asyncio.create_task(readers.changed(30.0))
        await asyncio.sleep(0)
        readers.wake()
        await asyncio.sleep(0)
        assert [task for task in (near, far, change) if task.done()] == []
        state.update(position=1, applied=5)
        readers.wake()
        assert await near
        assert await change
        assert not far.done()
        state["position"] = 2
        readers.wake()
        assert await far

    asyncio.run(story())

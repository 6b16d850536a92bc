import asyncio

from cc_ray.search.turns import TOGETHER, Turns


async def begun(waiting: list[asyncio.Task[bool]]) -> int:
    """How many may begin, once all that is ready has run."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return sum(task.done() for task in waiting)


def test_a_trial_waits_for_others_only_where_steps_run_that_will_bring_them() -> None:
    async def scene() -> None:
        steps = [3]
        turns = Turns(lambda: steps[0])
        waiting = [asyncio.ensure_future(turns.wait("one")) for _ in range(2)]
        assert await begun(waiting) == 0
        steps[0] = 2
        turns.look()
        assert await begun(waiting) == 2
        steps[0] = 0
        assert await turns.wait("one")

    asyncio.run(scene())


def test_many_do_not_wait_for_more() -> None:
    async def scene() -> None:
        turns = Turns(lambda: 1000)
        waiting = [asyncio.ensure_future(turns.wait("one")) for _ in range(TOGETHER - 1)]
        assert await begun(waiting) == 0
        assert await turns.wait("one")
        assert await begun(waiting) == TOGETHER - 1

    asyncio.run(scene())


def test_nobody_waits_for_long_beside_steps_that_take_their_time() -> None:
    async def scene() -> None:
        assert await asyncio.wait_for(Turns(lambda: 1000).wait("one"), timeout=60)

    asyncio.run(scene())


def test_a_cancelled_session_is_sent_away_and_others_wait_on() -> None:
    async def scene() -> None:
        turns = Turns(lambda: 1000)
        gone, stays = (asyncio.ensure_future(turns.wait(session)) for session in ("gone", "stays"))
        await asyncio.sleep(0)
        turns.cancel("gone")
        assert await gone is False
        assert not stays.done()
        stays.cancel()

    asyncio.run(scene())

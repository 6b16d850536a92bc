"""What closed tabs held is let go of, soon after the last one that closed."""

import asyncio
import gc
import weakref

from cc_ray.serve.memory import Memory, give_back, settle


class Tab:
    """Holds itself, as the parts of a tab do."""

    def __init__(self) -> None:
        self.own = self


def test_memory_is_given_back_once_no_tab_ends_any_more() -> None:
    async def close_three() -> list[bool]:
        memory = Memory(after_s=0.05)
        tabs = [Tab() for _ in range(3)]
        held = [weakref.ref(tab) for tab in tabs]
        for _ in held:
            memory.tab_ended(None)
        del tabs
        await asyncio.sleep(0.3)
        return [tab() is not None for tab in held]

    gc.disable()
    try:
        assert asyncio.run(close_three()) == [False] * 3
    finally:
        gc.enable()


def test_what_stays_is_not_looked_at_again() -> None:
    try:
        settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_memory_can_be_given_back_at_any_time() -> None:
    give_back()

"""Nobody's questions hold up another's."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from cc_ray.api.desk import AT_ONCE_PER_USER, MOST_PER_USER, Desk
from cc_ray.errors import BusyError
from cc_ray.store import Store


async def all_at_work(desk: Desk, count: int, work: Callable[[], bool]) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(desk.question(work, "greedy")) for _ in range(count)]
    while desk._asked["greedy"] < count:
        await asyncio.sleep(0)
    return tasks


def test_one_users_questions_leave_room_for_others(store: Store) -> None:
    async def ask() -> None:
        desk, ended = Desk(store.root), threading.Event()
        tasks = await all_at_work(desk, 3 * AT_ONCE_PER_USER, lambda: ended.wait(60))
        try:
            assert await desk.question(lambda: "answered", "other") == "answered"
            assert await desk.quick(lambda: "at once") == "at once"
        finally:
            ended.set()
        assert all(await asyncio.gather(*tasks))
        assert desk._of_user == {}

    asyncio.run(ask())


def test_more_questions_than_one_user_may_ask_are_refused(store: Store) -> None:
    async def ask() -> None:
        desk, ended = Desk(store.root), threading.Event()
        tasks = await all_at_work(desk, MOST_PER_USER, lambda: ended.wait(60))
        try:
            with pytest.raises(BusyError, match="18 questions of yours"):
                await desk.question(lambda: True, "greedy")
        finally:
            ended.set()
        assert all(await asyncio.gather(*tasks))

    asyncio.run(ask())


def test_every_error_and_parameter_is_described(api: FastAPI) -> None:
    described = api.openapi()

    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), path
            assert {"403", "413", "422", "429", "503"} <= operation["responses"].keys(), (path, method)
            assert [p["name"] for p in operation.get("parameters", []) if not described_by(p)] == [], path


def described_by(parameter: dict[str, object]) -> bool:
    schema = parameter["schema"]
    return bool(parameter.get("description") or (isinstance(schema, dict) and schema.get("description")))

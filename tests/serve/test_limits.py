"""Limits count, forget, and stay small."""

from cc_ray.serve.limits import AtOnce, Backoff, Rate, Recent, network


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_allows_a_burst_and_then_so_many_a_second() -> None:
    clock = Clock()
    rate = Rate(2.0, 3, clock)

    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.take("b") == 0
    clock.now = 0.5
    assert [rate.take("a"), rate.take("a")] == [0, 0.5]
    clock.now = 1e6
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_every_failure_doubles_the_wait_up_to_a_longest() -> None:
    clock = Clock()
    backoff = Backoff(free=2, longest_s=5, clock=clock)
    waits = []
    for _ in range(7):
        waits.append(backoff.wait("a"))
        backoff.failed("a")

    assert waits == [0, 0, 1, 2, 4, 5, 5]
    clock.now = 4
    assert backoff.wait("a") == 1
    assert backoff.wait("b") == 0
    clock.now = 3601
    assert backoff.wait("a") == 0
    backoff.failed("a")
    assert backoff.wait("a") == 0


def test_success_ends_the_wait() -> None:
    backoff = Backoff(free=0, longest_s=5)
    backoff.failed("a")
    assert backoff.wait("a") > 0

    backoff.succeeded("a")

    assert backoff.wait("a") == 0


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.get("a")
    recent.put("c", 3)

    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    assert len(recent) == 2


def test_no_more_than_so_many_at_once() -> None:
    held = AtOnce(2)

    assert [held.enter("a"), held.enter("a"), held.enter("a"), held.enter("b")] == [True, True, False, True]
    held.leave("a")
    assert held.enter("a")


def test_a_household_of_ipv6_is_one_address() -> None:
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:2::9") != network("2001:db8:1:3::9")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1") == "192.0.2.1"
    assert network("unix:") == "unix:"

"""How much an address or a name may ask for. Nothing grows without bound: who was seen longest ago is forgotten."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final, Generic, TypeVar

MOST_KEYS: Final = 10_000
"""How many addresses or names are remembered at once."""
Clock = Callable[[], float]
Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values of those keys that were used last.

    Args:
        most: How many keys.
    """

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """The value of a key, which counts as used."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        """Remember a value."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._values.pop(key, None)


class Rate:
    """A token bucket per key.

    Args:
        per_s: How many a second in the long run.
        burst: How many at once.
        clock: Seconds.
    """

    def __init__(self, per_s: float, burst: int, clock: Clock = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._seen: Recent[tuple[float, float]] = Recent()

    def take(self, key: str) -> float:
        """Take one: 0 if there is one, else the seconds until there is."""
        now = self._clock()
        left, at = self._seen.get(key) or (float(self._burst), now)
        left = min(self._burst, left + (now - at) * self._per_s)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._seen.put(key, (left if wait else left - 1, now))
        return wait


class Backoff:
    """After some failures, every further one doubles the time until the next try.

    Args:
        free: How many failures cost nothing.
        longest_s: The longest wait; failures are forgotten after twice that, or an hour.
        clock: Seconds.
    """

    def __init__(self, free: int, longest_s: float, clock: Clock = time.monotonic) -> None:
        self._free, self._longest_s, self._clock = free, longest_s, clock
        self._forget_s = max(2 * longest_s, 3600.0)
        self._failures: Recent[tuple[int, float]] = Recent()

    def wait(self, key: str) -> float:
        """Seconds until the next try; 0 for now."""
        failures, at = self._failures.get(key) or (0, 0.0)
        passed = self._clock() - at
        if passed > self._forget_s or failures < self._free:
            return 0.0
        return max(0.0, min(self._longest_s, 2.0 ** min(failures - self._free, 30)) - passed)

    def failed(self, key: str) -> None:
        """Note a failure."""
        failures, at = self._failures.get(key) or (0, 0.0)
        now = self._clock()
        self._failures.put(key, ((failures if now - at <= self._forget_s else 0) + 1, now))

    def succeeded(self, key: str) -> None:
        """Forget the failures."""
        self._failures.drop(key)


class AtOnce:
    """How many a key holds at the same time.

    Args:
        most: At most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}

    def enter(self, key: str) -> bool:
        """Hold one more, if it may; then `leave` has to follow."""
        held = self._held.get(key, 0)
        if held >= self._most:
            return False
        self._held[key] = held + 1
        return True

    def leave(self, key: str) -> None:
        """Hold one less."""
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]


def network(address: str) -> str:
    """What counts as one address: for IPv6 the network of a household (/64), of which one person has all."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address

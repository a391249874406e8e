"""Request rates, counted in Valkey for all replicas; by each process alone while Valkey is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError
from redis.retry import Retry

from domain.ratelimit import MINUTE, Rule, Standing, Window, standing

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.2  # then Valkey counts as away
LOOK_SECONDS = 1.0  # between two looks whether it is back


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request was let in, and how its tenant stands under each rule."""

    allowed: bool
    standings: tuple[Standing, ...]


class Limiter:
    """Shared by the threads of a process. Whoever finds Valkey away waits for it once; nobody does after that."""

    def __init__(self, redis_url: str) -> None:
        self._shared = _Shared(redis_url)
        self._own = _Own()
        self._away = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def hit(self, tenant_id: UUID, rules: Sequence[Rule]) -> Decision:
        """Count one request under every rule, or under none if one of them refuses it: one round trip."""
        if not self._away.is_set():
            try:
                return self._shared.hit(tenant_id, rules)
            except (RedisError, OSError) as error:
                self._open(error)
        return self._own.hit(tenant_id, rules)

    def close(self) -> None:
        """Stop looking for Valkey, and leave it."""
        self._closed.set()
        self._shared.close()

    def _open(self, error: Exception) -> None:
        with self._lock:
            if self._away.is_set() or self._closed.is_set():
                return
            self._away.set()
        log.warning("Valkey is away; this process counts requests by itself", extra={"error": type(error).__name__})
        threading.Thread(target=self._look, name="rate limiter", daemon=True).start()

    def _look(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            if self._shared.answers():
                self._away.clear()
                log.info("Valkey is back")
                return


class _Shared:
    """Windows in Valkey. `limits` would ask twice for each rule; the script counts under all of them in one go.

    A connection answers within ANSWER_SECONDS or is given up; one that the server closed meanwhile is opened again.
    """

    def __init__(self, url: str) -> None:
        self._client: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        )
        self._hit = self._client.register_script(_HIT)

    def hit(self, tenant_id: UUID, rules: Sequence[Rule]) -> Decision:
        """Raises RedisError or OSError if Valkey does not answer."""
        keys = [f"kinema:rate:{{{tenant_id.hex}}}:{rule.name}" for rule in rules]
        both = [name for key in keys for name in (f"{key}:previous", key)]
        allowed, *numbers = cast("list[int]", self._hit(both, [rule.per_minute for rule in rules]))
        windows = [_window(*numbers[at : at + 4]) for at in range(0, len(numbers), 4)]
        return Decision(bool(allowed), tuple(map(standing, rules, windows)))

    def answers(self) -> bool:
        """Whether Valkey is there."""
        try:
            return bool(self._client.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


class _Own:
    """The same windows in this process."""

    def __init__(self) -> None:
        self._windows = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._windows)

    def hit(self, tenant_id: UUID, rules: Sequence[Rule]) -> Decision:
        """Never fails."""
        items = [(RateLimitItemPerMinute(rule.per_minute, namespace=rule.name), tenant_id.hex) for rule in rules]
        allowed = all(self._limiter.test(*item) for item in items) and all(self._limiter.hit(*item) for item in items)
        windows = [
            Window(*self._windows.get_sliding_window(item.key_for(name), item.get_expiry())) for item, name in items
        ]
        return Decision(allowed, tuple(map(standing, rules, windows)))


def _window(previous: int, previous_ms: int, current: int, current_ms: int) -> Window:
    return Window(previous, previous_ms / 1000, current, current_ms / 1000)


# KEYS: for every rule the previous window and the current one. ARGV: for every rule its limit. The windows move as in
# `limits`: a current window lives for two minutes, and is the previous one in the second of them.
_HIT = f"""
local minute = {int(MINUTE * 1000)}
local allowed = 1
local windows = {{}}
for rule = 1, #ARGV do
  local previous, current = KEYS[2 * rule - 1], KEYS[2 * rule]
  local left = redis.call('pttl', current)
  if left > 0 and left < minute then
    redis.call('rename', current, previous)
    redis.call('set', current, 0, 'PX', left + minute)
  end
  local window = {{
    tonumber(redis.call('get', previous) or 0), math.max(0, redis.call('pttl', previous)),
    tonumber(redis.call('get', current) or 0), math.max(0, redis.call('pttl', current))
  }}
  windows[rule] = window
  if math.floor(window[1] * window[2] / minute) + window[3] + 1 > tonumber(ARGV[rule]) then
    allowed = 0
  end
end
local answer = {{allowed}}
for rule = 1, #ARGV do
  local window = windows[rule]
  if allowed == 1 then
    local current = KEYS[2 * rule]
    if window[4] > 0 then
      redis.call('incr', current)
    else
      redis.call('set', current, 1, 'PX', 2 * minute)
      window[4] = 2 * minute
    end
    window[3] = window[3] + 1
  end
  for part = 1, 4 do
    table.insert(answer, window[part])
  end
end
return answer
"""

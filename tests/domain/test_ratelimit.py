from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from domain.ratelimit import MINUTE, Rule, Window, standing

# The previous count is gone when the current one takes its place.
WINDOWS = st.builds(
    lambda previous, current, seconds: Window(previous, seconds, current, seconds + MINUTE),
    st.integers(0, 50),
    st.integers(0, 50),
    st.floats(0.01, 60),
)


def later(window: Window, seconds: float) -> Window:
    """The window as it will be, if nobody asks."""
    if window.current_seconds - seconds >= MINUTE:
        previous = max(0.0, window.previous_seconds - seconds)
        return replace(window, previous_seconds=previous, current_seconds=window.current_seconds - seconds)
    left = max(0.0, window.current_seconds - seconds)
    return Window(window.current, left, 0, left + MINUTE)


@given(WINDOWS, st.integers(1, 40))
def test_after_the_wait_and_not_before_a_request_is_let_in(window: Window, limit: int) -> None:
    found = standing(Rule("requests", limit), window)
    assert found.remaining == max(0, limit - window.count)
    if found.remaining:
        assert found.retry_seconds == 0
        return
    assert later(window, found.retry_seconds).count < limit
    early = found.retry_seconds - 0.01
    assert early <= 0 or later(window, early).count >= limit


@given(WINDOWS)
def test_after_the_reset_nothing_is_counted(window: Window) -> None:
    found = standing(Rule("requests", 10), window)
    assert later(window, found.resets_seconds).count == 0


def test_a_limit_of_nothing_lets_nothing_in() -> None:
    found = standing(Rule("requests", 0), Window())
    assert (found.remaining, found.retry_seconds) == (0, MINUTE)

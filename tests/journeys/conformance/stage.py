"""What every line plays on: clients of several tenants, sync or async, strict, with every exchange written down."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import openai

SIZE = "1280x720"
SIZES = {"720x1280", "1280x720", "1024x1792", "1792x1024"}
MODEL = "testcard"
PATIENCE_SECONDS = 90.0  # for one answer, and for one video
BARS: dict[str, Any] = {"prompt": "bars", "model": MODEL, "size": SIZE, "seconds": "4"}
REFUSED_LATER = "A gang beats a man to death with hammers, blood everywhere"  # passes the rules, not the classifier


@dataclass(frozen=True)
class Exchange:
    """One request and what came back."""

    at: float
    method: str
    url: str
    sent: dict[str, str]
    status: int
    headers: dict[str, str]


@dataclass
class Stage:
    """Facts of the running system; `asynchronous` puts AsyncOpenAI behind the same calls."""

    facts: dict[str, Any]
    asynchronous: bool
    strict: bool
    exchanges: list[Exchange] = field(default_factory=list)

    @classmethod
    def set(cls, mode: str) -> Stage:
        """From the file that KINEMA_STAGE names."""
        facts = json.loads(Path(os.environ["KINEMA_STAGE"]).read_text())
        return cls(facts, asynchronous="async" in mode, strict="strict" in mode)

    def client(self, tenant: str = "alice", *, at: str = "base_url", key: str | None = None, **options: Any) -> Any:
        """The official client, as that tenant."""
        hooks = {"event_hooks": self._hooks()}
        options = {
            "base_url": self.facts[at],
            "api_key": key or self.facts["keys"][tenant],
            "_strict_response_validation": self.strict,
            "timeout": PATIENCE_SECONDS,
            **options,
        }
        if not self.asynchronous:
            return openai.OpenAI(http_client=openai.DefaultHttpxClient(**hooks), **options)
        return Blocking(openai.AsyncOpenAI(http_client=openai.DefaultAsyncHttpxClient(**hooks), **options), self._loop)

    @cached_property
    def videos(self) -> Any:
        """Of the tenant that most lines use."""
        return self.client().videos

    @cached_property
    def finished(self) -> Any:
        """One completed video that no line takes away."""
        return self.complete(self.videos.create(**BARS))

    def complete(self, video: Any, tenant: str = "alice") -> Any:
        """Waits; the completed video."""
        videos, begun = self.client(tenant).videos, time.monotonic()
        while (done := videos.retrieve(video.id)).status in {"queued", "in_progress"}:
            assert time.monotonic() - begun < PATIENCE_SECONDS, f"never finished: {done}"
            time.sleep(0.2)
        assert done.status == "completed", done
        return done

    @contextmanager
    def counted(self) -> Iterator[list[Exchange]]:
        """The exchanges of the block."""
        begun, seen = len(self.exchanges), []
        yield seen
        seen += self.exchanges[begun:]

    @cached_property
    def _loop(self) -> asyncio.Runner:
        return asyncio.Runner()

    def _hooks(self) -> dict[str, list[Callable[..., Any]]]:
        def note(response: Any) -> None:
            request = response.request
            sent = {name.lower(): value for name, value in request.headers.items()}
            headers = {name.lower(): value for name, value in response.headers.items()}
            self.exchanges.append(
                Exchange(time.monotonic(), request.method, str(request.url), sent, response.status_code, headers)
            )

        async def note_later(response: Any) -> None:
            note(response)

        return {"response": [note_later if self.asynchronous else note]}

    def close(self) -> None:
        """Ends the loop, if there was one."""
        self._loop.close()


class Blocking:
    """An asynchronous object whose calls are waited for, so that each line is written once."""

    def __init__(self, target: Any, loop: asyncio.Runner) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._wrapped(value) if _speaks(value) else value

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._wrapped(self._target(*arguments, **options))

    def __iter__(self) -> Iterator[Any]:
        iterator = aiter(self._target)
        while True:
            try:
                yield self._loop.run(anext(iterator))
            except StopAsyncIteration:
                return

    def _wrapped(self, value: Any) -> Any:
        if hasattr(value, "__aiter__") and not hasattr(value, "data"):  # a list, and a page of it when awaited
            return Listing(value, self._loop)
        if inspect.isawaitable(value):
            return self._loop.run(_awaited(value))
        return Blocking(value, self._loop) if _speaks(value) else value


class Listing(Blocking):
    """Iterated it pages by itself; asked for anything else it is its first page."""

    def __getattr__(self, name: str) -> Any:
        self._page = self.__dict__.get("_page") or self._loop.run(_awaited(self._target))
        return getattr(self._page, name)


async def _awaited(value: Any) -> Any:
    return await value


def _speaks(value: Any) -> bool:
    """A resource of the client, or one of its methods."""
    return inspect.ismethod(value) or inspect.isfunction(value) or type(value).__name__.startswith("Async")


def expect(kind: type[Any], call: Callable[[], object]) -> Any:
    """The exception of that kind that the call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")

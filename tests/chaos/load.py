"""Videos asked for while things break: each until it is accepted, some cancelled, all remembered."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

ASKED: dict[str, Any] = {"prompt": "bars", "model": "testcard", "seconds": "1", "size": "256x144"}
CANCELLED_SHARE = 0.05


class Stopped(Exception):
    """The run is over; nobody waits for an answer any more."""


@dataclass
class Load:
    """A thread that asks for `videos` clips spread over `seconds`, with an Idempotency-Key each."""

    base_urls: tuple[str, str]
    api_key: str
    seed: int
    videos: int
    seconds: float
    accepted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    slowest: float = 0.0
    tries: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    refusal: str | None = None  # an answer that no fault explains: nothing more was asked for

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="load", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            with contextlib.suppress(Stopped):
                self._ask_for_all()
        except Exception as error:  # noqa: BLE001 - whatever ended the load belongs into the report
            self.refusal = f"{type(error).__name__}: {error}"

    def _ask_for_all(self) -> None:
        draw = random.Random(self.seed)
        begun = time.monotonic()
        with httpx.Client(headers={"authorization": f"Bearer {self.api_key}"}, timeout=5) as client:
            for number in range(self.videos):
                self.stop.wait(max(0.0, begun + self.seconds * number / self.videos - time.monotonic()))
                self._create(client, draw, number)

    def _create(self, client: httpx.Client, draw: random.Random, number: int) -> None:
        asked_at = time.monotonic()
        body = {**ASKED, "seed": number, "steps": draw.choice((4, 8, 16))}
        video = self._insist(client, draw, "/videos", body, {"idempotency-key": f"chaos-{self.seed}-{number}"})
        self.slowest = max(self.slowest, time.monotonic() - asked_at)
        self.accepted.append(video["id"])
        if draw.random() < CANCELLED_SHARE:
            self._insist(client, draw, f"/videos/{video['id']}/cancel", {}, {})
            self.cancelled.append(video["id"])

    def _insist(
        self, client: httpx.Client, draw: random.Random, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any]:
        """Until one of the APIs answers; a conflict is an answer too."""
        while not self.stop.is_set():
            self.tries += 1
            try:
                response = client.post(draw.choice(self.base_urls) + path, json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if response.is_success or (response.status_code == 409 and "x-should-retry" in response.headers):
                return dict(response.json())
            assert response.status_code >= 500 or response.status_code in {409, 429}, response.text
            time.sleep(0.2)
        raise Stopped

"""HTTP to a far end: each call made until it is answered, every answer bounded and told apart.

Its address is the operator's own, so any is good; redirects are not followed and, unless told otherwise, no proxy
variable counts. What it says reaches the log alone, cut and without the key.
"""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Self, TypeVar, cast
from urllib.parse import quote

import httpx

from domain.upstream import Dialect, FarEnd
from engines.protocol import Unrenderable
from engines.upstream.calls import Call, Late
from engines.upstream.dialects import Wanted

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(10.0, connect=5.0, write=30.0)
PATIENT = httpx.Timeout(60.0, connect=5.0)  # a create may be answered only once its pictures are read
BRIEF = httpx.Timeout(2.0)
# Seconds for a whole call, however slowly it goes on: each of the timeouts above is for one read or write.
LOOK_SECONDS, CREATE_SECONDS, REMOVE_SECONDS = 10.0, 300.0, 3.0
BODY_SECONDS = 20.0  # for the body of a small answer
GRACE_SECONDS = 2.0  # for the answer to a create that nobody wants any more, before it is waited for unattended
MOST_ANSWER_BYTES = 1 << 20
MOST_REFUSAL_BYTES = 1 << 16
MOST_TEXT = 300
FIRST_DELAY, MOST_DELAY = 0.5, 10.0  # seconds between two tries
BUSY = frozenset({408, 409, 425, 429})
BLOCKED = frozenset({"moderation_blocked", "sentinel_block", "content_policy_violation"})
_ASSURED = "x-should-retry"

Rest = Callable[[float], None]
_T = TypeVar("_T")


class FarEndAway(Exception):
    """No usable answer within the patience that the operator allows. Another attempt may find one."""


class FarEndFailed(Exception):
    """The far end gave the video up, or sent something useless. Another attempt may fare better."""


class Forgotten(Exception):
    """The far end does not know the video any more: it was restarted, or somebody deleted it."""


class _Busy(Exception):
    """Try again, after so many seconds if it said how many. `idle`: it has surely not begun what it was asked for."""

    def __init__(self, reason: str, after: float = 0.0, *, idle: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.idle = idle


@dataclass(frozen=True, slots=True)
class Job:
    """What a far end says about a video."""

    id: str
    status: str
    progress: int  # percent
    code: str = ""
    message: str = ""


class Wire:
    """One far end, for as long as a block lasts."""

    def __init__(self, far_end: FarEnd, key: str) -> None:
        self._far_end = far_end
        self._key = key
        authorization = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=authorization, timeout=TIMEOUT, trust_env=far_end.proxies)
        self._call: Call[Any] | None = None  # the last one that was begun
        self._idle = True  # no try of a create can have begun a video that we know nothing of
        self._withdraws = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._withdraws:  # else the last thing that is done there
            self._client.close()

    def create(self, wanted: Wanted, ticket: str, rest: Rest) -> Job:
        """Ask for a video. Every try carries the same key, so a far end that honours it makes one.

        Raises Unrenderable, FarEndAway, FarEndFailed, and what `rest` raises; a video that was begun nevertheless is
        removed as soon as its id is known, for which the last answer is still awaited.
        """
        files: dict[str, Any] = {name: (f"{name}.png", png, "image/png") for name, png in wanted.files.items()}
        if wanted.clip is not None:
            files["video"] = ("video.mp4", wanted.clip, "video/mp4")
        parts: Any = files or None
        if not wanted.as_json and not files:  # httpx makes a form of parts only if there is a file among them
            parts = {name: (None, text) for name, text in wanted.form.items()}
        body: dict[str, Any] = {"files": parts, "data": wanted.form if files else None}
        if wanted.as_json:
            body = {"json": wanted.fields}
        headers = {"idempotency-key": ticket} if ticket else {}

        def post() -> Job:
            return self._job("POST", wanted.path, headers=headers, timeout=PATIENT, **body)

        self._call, self._idle = None, True
        try:
            return self._persist(post, rest, CREATE_SECONDS)
        except Unrenderable:
            raise
        except BaseException:
            self._withdraw(post, repeats=bool(ticket) and self._far_end.dialect is Dialect.KINEMA)
            raise

    def _withdraw(self, post: Callable[[], Job], *, repeats: bool) -> None:
        """Have a video removed that may have been begun; what is not known soon is seen to unattended."""
        if self._call is None:
            return
        self._withdraws = True
        thread = threading.Thread(target=self._undo, args=(self._call, post), kwargs={"repeats": repeats}, daemon=True)
        thread.start()
        thread.join(GRACE_SECONDS)

    def _undo(self, call: Call[Job], post: Callable[[], Job], *, repeats: bool) -> None:
        try:
            if job := self._begun(call, post, repeats=repeats):
                self.remove(job.id)
        finally:
            self._client.close()

    def _begun(self, call: Call[Job], post: Callable[[], Job], *, repeats: bool) -> Job | None:
        """The video of a create: from its last answer, or asked for once more where its key finds it again."""
        idle = self._idle
        try:
            return call.end()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            pass
        except _Busy as error:
            idle = idle and error.idle
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody waits for it
            idle = isinstance(error, Unrenderable)
        if idle or not repeats:
            return None
        try:
            return post()
        except Exception as error:  # noqa: BLE001 - likewise
            log.warning("a far end may draw a video for nobody", extra={"reason": self.clean(str(error))})
            return None

    def look(self, video_id: str, rest: Rest) -> Job:
        """How far it is. Raises Forgotten, Unrenderable, FarEndAway, and what `rest` raises."""
        return self._persist(lambda: self._job("GET", f"/videos/{quote(video_id, safe='')}"), rest, LOOK_SECONDS)

    def fetch(
        self, video_id: str, file: IO[bytes], on_bytes: Callable[[], None], rest: Rest, seconds: float = math.inf
    ) -> None:
        """The whole file, within so many seconds; `on_bytes` is called while it grows, and when it is whole.

        Raises Forgotten, FarEndAway, Unrenderable (refused, or too long), and what the callables raise.
        """
        size, told = 0, 0

        def attempt() -> None:
            nonlocal size
            file.seek(0)
            file.truncate()
            with self._answer("GET", f"/videos/{quote(video_id, safe='')}/content") as answer:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    size = file.tell()
                    if size > self._far_end.most_bytes:
                        raise Unrenderable(f"the far end's file has more than {self._far_end.most_bytes} bytes")

        def meanwhile(seconds: float) -> None:
            nonlocal told
            if size != told:
                told = size
                on_bytes()
            rest(seconds)

        self._persist(attempt, meanwhile, max(LOOK_SECONDS, seconds))
        on_bytes()
        file.seek(0)

    def remove(self, video_id: str) -> bool:
        """Stop the video and remove it. False: the far end did not confirm it, and may go on."""
        for delay in (0.0, 0.5, 1.0):
            time.sleep(delay)
            deletion = Call(lambda: self._status("DELETE", f"/videos/{quote(video_id, safe='')}"))
            try:
                status = deletion.outcome(lambda _: None, time.monotonic() + REMOVE_SECONDS)
            except (httpx.HTTPError, Late):
                continue
            if 200 <= status < 300 or status in {404, 410}:
                return True
        log.warning("the far end did not confirm that it removed a video", extra={"far_end_video": video_id[:64]})
        return False

    def _status(self, method: str, path: str) -> int:
        """What an answer begins with; the rest of it is not read."""
        with self._client.stream(method, self._url(path), timeout=BRIEF) as answer:
            return answer.status_code

    def _job(self, method: str, path: str, **request: Any) -> Job:
        with self._answer(method, path, **request) as answer:
            return _job(_document(answer))

    def _answer(self, method: str, path: str, **request: Any) -> _Open:
        return _Open(self, self._client.build_request(method, self._url(path), **request))

    def send(self, request: httpx.Request) -> httpx.Response:
        """A 2xx whose body is still to be read. Raises _Busy, Forgotten or Unrenderable for every other."""
        answer = self._client.send(request, stream=True)
        if answer.is_success:
            return answer
        try:
            raise self._refusal(request, answer)
        finally:
            answer.close()

    def _refusal(self, request: httpx.Request, answer: httpx.Response) -> Exception:
        status, (code, message) = answer.status_code, _told(_start(answer))
        reason = f"{request.method} answered {status} {code}: {self.clean(message)}".strip()
        if status in {404, 410} and request.method == "GET":
            return Forgotten(reason)
        assured = answer.headers.get(_ASSURED)
        if (status in BUSY or status >= 500) and assured != "false":
            return _Busy(reason, _after(answer), idle=status < 500)
        if code in BLOCKED:
            return Unrenderable(reason, "moderation_blocked")
        return Unrenderable(f"the far end refuses: {reason}", "upstream_refused")

    def clean(self, text: str) -> str:
        """A far end's words for our log: printable, short, and without the key."""
        hidden = text.replace(self._key, "***") if self._key else text
        return "".join(letter if letter.isprintable() else " " for letter in hidden)[:MOST_TEXT]

    def _persist(self, attempt: Callable[[], _T], rest: Rest, seconds: float) -> _T:
        """Once more after a while, for as long as the operator's patience; one try may take `seconds` at least."""
        give_up_at = time.monotonic() + self._far_end.patience_seconds
        delay = FIRST_DELAY
        while True:
            self._call = call = Call(attempt)
            try:
                return call.outcome(rest, max(give_up_at, time.monotonic() + seconds))
            except Late:
                raise FarEndAway("the far end's answer comes too slowly") from None
            except (_Busy, httpx.HTTPError) as error:
                after = error.after if isinstance(error, _Busy) else 0.0
                reason = self.clean(f"{type(error).__name__}: {error}")
                self._idle = self._idle and _is_idle(error)
            wait = max(after, jittered(delay))
            if time.monotonic() + wait > give_up_at:
                raise FarEndAway(reason)
            log.info("the far end is asked again", extra={"reason": reason, "seconds": round(wait, 1)})
            rest(wait)
            delay = min(2 * delay, MOST_DELAY)

    def _url(self, path: str) -> str:
        return self._far_end.url + path


class _Open:
    """An answer for as long as a block lasts."""

    def __init__(self, wire: Wire, request: httpx.Request) -> None:
        self._wire, self._request = wire, request

    def __enter__(self) -> httpx.Response:
        self._response = self._wire.send(self._request)
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def jittered(seconds: float) -> float:
    """Up to a quarter less, so that many who wait do not come together."""
    return seconds * random.uniform(0.75, 1.0)  # noqa: S311 - nothing is guarded by it


def _is_idle(error: Exception) -> bool:
    """Whether a try that failed so cannot have begun anything at the far end."""
    return error.idle if isinstance(error, _Busy) else isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _read(answer: httpx.Response) -> bytes:
    """The body of a small answer."""
    over_at, body = time.monotonic() + BODY_SECONDS, bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            raise FarEndFailed("the far end's answer is too long")
        if time.monotonic() > over_at:
            raise _Busy("the answer comes too slowly")
    return bytes(body)


def _start(answer: httpx.Response) -> bytes:
    """As much of the body of a refusal as comes soon; its status says enough."""
    over_at, body = time.monotonic() + BODY_SECONDS, bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MOST_REFUSAL_BYTES or time.monotonic() > over_at:
            break
    return bytes(body[:MOST_REFUSAL_BYTES])


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        found: Any = json.loads(_read(answer))
    except (ValueError, RecursionError):
        raise _Busy("the answer is no JSON") from None
    if not isinstance(found, dict):
        raise _Busy("the answer is no JSON object")
    return cast("dict[str, Any]", found)


def _job(found: dict[str, Any]) -> Job:
    """A Video object, as far as it can be made out: far ends leave fields out, and give them other types."""
    video_id, status, progress = found.get("id"), found.get("status"), found.get("progress")
    if not isinstance(video_id, str) or not isinstance(status, str):
        raise _Busy("the answer is no video")
    percent = progress if isinstance(progress, int | float) else 0
    code, message = _error(found.get("error"))
    return Job(video_id, status.lower(), int(min(100, max(0, percent))), code, message)


def _told(body: bytes) -> tuple[str, str]:
    """Code and message of a refusal: OpenAI's `error`, FastAPI's `detail`, or the bare text."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", body[: 4 * MOST_TEXT].decode(errors="replace")
    if not isinstance(found, dict):
        return "", _words(found)
    document = cast("dict[str, Any]", found)
    return _error(document["error"]) if "error" in document else _error(document.get("detail", document))


def _error(found: Any) -> tuple[str, str]:
    if not isinstance(found, dict):
        return "", "" if found is None else _words(found)
    error = cast("dict[str, Any]", found)
    code, message = error.get("code"), error.get("message")
    return code if isinstance(code, str) else "", _words(message or error)


def _words(found: Any) -> str:
    try:
        return str(found)
    except RecursionError:
        return "too deeply nested"


def _after(answer: httpx.Response) -> float:
    """Seconds that it asks to wait; nothing if it says so in a way that is not understood."""
    try:
        milliseconds = answer.headers.get("retry-after-ms")
        seconds = float(milliseconds) / 1000 if milliseconds else float(answer.headers.get("retry-after", 0))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0

"""Line 17: every answer can be asked about."""

from __future__ import annotations

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import Stage, expect


@line(17)
def every_answer_has_an_id_of_its_own(stage: Stage) -> None:
    found = stage.videos.retrieve(stage.finished.id)
    error = expect(openai.NotFoundError, lambda: stage.videos.retrieve("video_nothing"))
    assert found._request_id
    assert error.request_id
    assert found._request_id != error.request_id
    ours = [exchange for exchange in stage.exchanges if not exchange.url.startswith(stage.facts["public_url"])]
    assert len(ours) > 50, "this line comes after all others"
    nameless = [(exchange.method, exchange.url) for exchange in ours if not exchange.headers.get("x-request-id")]
    assert nameless == []
    ids = [exchange.headers["x-request-id"] for exchange in ours]
    assert len(ids) == len(set(ids))

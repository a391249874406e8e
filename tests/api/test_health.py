from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def app(fresh_app: TestClient) -> TestClient:
    return fresh_app


def test_the_process_and_its_servers_are_well(app: TestClient) -> None:
    assert app.get("/healthz").json() == {"status": "ok"}
    assert app.get("/readyz").json() == {"status": "ready", "database": True, "redis": True, "s3": True}


def test_requests_are_counted_by_route_and_not_by_path(http: TestClient) -> None:
    created = http.post("/v1/videos", json={"prompt": "a ball"}).json()["id"]
    http.get(f"/v1/videos/{created}")
    http.get("/v1/videos/video_1")
    http.get("/wp-login.php")
    http.request("BREW", "/v1/videos")
    text = http.get("/metrics").text
    assert 'kinema_api_requests_total{method="POST",route="/v1/videos",status="200"} 1.0' in text
    assert 'kinema_api_requests_total{method="GET",route="/v1/videos/{video_id}",status="200"} 1.0' in text
    assert 'kinema_api_requests_total{method="GET",route="/v1/videos/{video_id}",status="404"} 1.0' in text
    assert 'kinema_api_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'method="other"' in text
    assert 'kinema_api_videos_created_total{model="kinema-dit"} 1.0' in text
    assert 'kinema_api_request_seconds_count{method="POST",route="/v1/videos"} 1.0' in text
    assert created not in text
    assert "wp-login" not in text


def test_the_openapi_document_says_what_is_true(app: TestClient) -> None:
    document: dict[str, Any] = app.get("/openapi.json").json()
    create = document["paths"]["/v1/videos"]["post"]
    assert set(create["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert create["security"] == [{"HTTPBearer": []}]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all("422" not in operation["responses"] for operation in operations), "nothing is answered with 422"
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["PublicStatus"]["enum"]) == {
        "queued",
        "in_progress",
        "completed",
        "failed",
    }
    assert "/v1/videos/{video_id}/content" in document["paths"]

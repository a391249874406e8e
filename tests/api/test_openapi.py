from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import parameters
from domain.video import Operation

PATHS = {
    Operation.CREATE: "/v1/videos",
    Operation.REMIX: "/v1/videos/{video_id}/remix",
    Operation.EDIT: "/v1/videos/edits",
    Operation.EXTEND: "/v1/videos/extensions",
}


@pytest.fixture
def spec(app: TestClient) -> dict[str, Any]:
    return app.get("/openapi.json").json()


def bodies(spec: dict[str, Any], operation: Operation) -> dict[str, dict[str, Any]]:
    content = spec["paths"][PATHS[operation]]["post"]["requestBody"]["content"]
    return {kind: entry["schema"] for kind, entry in content.items()}


@pytest.mark.parametrize("operation", Operation)
def test_each_call_is_described_by_the_table_that_parses_it(spec: dict[str, Any], operation: Operation) -> None:
    schemas = bodies(spec, operation)
    assert set(schemas) == {"multipart/form-data", "application/json"}
    names = set(parameters.of(operation)) | set(parameters.ALIASES[operation])
    for schema in schemas.values():
        assert set(schema["properties"]) == names
        assert schema["additionalProperties"] is False
        assert all(each["description"] for each in schema["properties"].values())


def test_what_is_required_may_come_under_another_name(spec: dict[str, Any]) -> None:
    schema = bodies(spec, Operation.EXTEND)["application/json"]
    assert schema["required"] == []
    assert schema["allOf"] == [
        {"anyOf": [{"required": ["prompt"]}, {"required": ["prompt_continuation"]}]},
        {"anyOf": [{"required": ["video"]}, {"required": ["input_file"]}]},
        {"anyOf": [{"required": [name]} for name in ("seconds", "duration", "duration_extension")]},
    ]
    assert bodies(spec, Operation.CREATE)["application/json"]["required"] == ["prompt"]


def test_a_file_may_come_in_a_form_only(spec: dict[str, Any]) -> None:
    for operation, name in ((Operation.CREATE, "input_reference"), (Operation.EDIT, "video")):
        kinds = {
            kind: [each.get("contentMediaType") for each in schema["properties"][name]["oneOf"]]
            for kind, schema in bodies(spec, operation).items()
        }
        assert "application/octet-stream" in kinds["multipart/form-data"]
        assert "application/octet-stream" not in kinds["application/json"]


def test_both_answers_are_described(spec: dict[str, Any]) -> None:
    for path in PATHS.values():
        answer = spec["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert [each["$ref"].rpartition("/")[2] for each in answer["anyOf"]] == ["Video", "DryRun"]

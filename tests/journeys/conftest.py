from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.system import System, running

FAST_LEASES = {"KINEMA_LEASE_SECONDS": "3", "KINEMA_BEAT_SECONDS": "0.5", "KINEMA_REAP_SECONDS": "0.5"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything as real processes, the test card in place of a model, leases of three seconds."""
    data = tmp_path_factory.mktemp("journey") / "data"
    environment = {**FAST_LEASES, "KINEMA_TESTCARD_STEP_SECONDS": "0.05"}
    with running(data, "--model", "testcard", environment=environment) as up:
        yield up

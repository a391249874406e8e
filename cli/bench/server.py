"""The API as it is, plus two routes of the benchmark's own: a POST that does nothing, and the process's CPU time."""

from __future__ import annotations

import time

import uvicorn

from api.app import create_app
from api.bodies import Received
from api.deps import Authenticated
from runtime import logs, settings


def serve() -> None:
    """Serves with the settings of the environment, under the options of `api.app.serve` that cost time."""
    loaded = settings.load()
    logs.configure("WARNING")
    app = create_app(loaded)

    @app.post("/v1/bench/nothing", tags=["videos"])
    def nothing(_caller: Authenticated, _body: Received) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - a route
        """Authenticated, its body received: what every POST pays before it does anything."""
        return {"object": "nothing"}

    @app.get("/bench/cpu")
    def cpu() -> float:  # pyright: ignore[reportUnusedFunction] - a route
        """Seconds of CPU that this process has used."""
        return time.process_time()

    uvicorn.run(app, host=loaded.api_host, port=loaded.api_port, http="h11", access_log=False, log_config=None)


if __name__ == "__main__":
    serve()

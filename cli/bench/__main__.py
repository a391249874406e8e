"""`python3 dev.py bench`: runs every measurement once and prints the table of docs/benchmarks.md. About two minutes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

from cli.bench import depths, renders
from cli.bench.load import NUMBER, Call, Client, Measured, form
from cli.bench.venue import Venue, venue

ROUNDS = 3
SECONDS = {"nothing": 1.0, "create": 2.0, "get": 0.8, "list": 0.8}
FIELDS = (
    ("prompt", f"a red ball rolls left, take {NUMBER.decode()}"),
    ("model", "testcard"),
    ("size", "1280x720"),
    ("seconds", "4"),
)
SCENARIOS = [(tenants, limited) for limited in (False, True) for tenants in (1, 8)]
LEAST_RATE, MOST_CPU = 0.25, 5.0
MOST_IDLE = 0.02


def main() -> int:
    """Measures and prints; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--renders", metavar="MODEL", help="instead: what a renderer does besides drawing with a model")
    parser.add_argument("--clips", type=int, default=5, help="so many, with --renders (%(default)s)")
    options = parser.parse_args()
    begun = time.monotonic()
    with venue() as at:
        if options.renders:
            figures = [_renders(at, options.renders, options.clips)]
        else:
            figures = [_scenario(at, *each) for each in SCENARIOS] + _depths(at)
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs; {time.monotonic() - begun:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(each.get("met", True) for each in figures) else 1


def _scenario(at: Venue, tenants: int, limited: bool) -> dict[str, object]:  # noqa: FBT001 - a pair of the table
    """All calls by turns against one fresh process, so that a slow moment meets each of them."""
    create = form(FIELDS)
    nothing = Call("POST", "/v1/bench/nothing", create.body, create.content_type)
    with at.api() as port:
        client = Client(port, at.tenants(tenants, limited=limited))
        video = json.loads(client.once(create))["id"]
        calls = {
            "nothing": nothing,
            "create": create,
            "get": Call("GET", f"/v1/videos/{video}"),
            "list": Call("GET", "/v1/videos?limit=20"),
        }
        measured = {name: Measured() for name in calls}
        own = Client(port, client.keys[:1])  # the one video belongs to the first tenant
        for _ in range(ROUNDS):
            for name, call in calls.items():
                (own if name == "get" else client).press(call, SECONDS[name], measured[name])
    return _told(f"{tenants} tenant{'s' if tenants > 1 else ''}{', all limits' if limited else ''}", measured)


def _told(title: str, measured: dict[str, Measured]) -> dict[str, object]:
    """Prints a scenario; its figures, and whether the aims are met."""
    nothing, create = measured["nothing"], measured["create"]
    print(f"\n{title}\n  {'':8} {'a second':>9} {'of nothing':>11} {'CPU ms':>7} {'of nothing':>11} {'p95 ms':>7}")
    rows: dict[str, dict[str, float]] = {}
    for name, each in measured.items():
        rate, cpu = each.rate / nothing.rate, each.cpu_ms / nothing.cpu_ms
        print(f"  {name:8} {each.rate:9.0f} {rate:11.2f} {each.cpu_ms:7.2f} {cpu:11.2f} {each.p95:7.1f}", flush=True)
        rows[name] = {
            "rate": each.rate,
            "rate_ratio": rate,
            "cpu_ms": each.cpu_ms,
            "cpu_ratio": cpu,
            "p95_ms": each.p95,
        }
    met = create.rate / nothing.rate >= LEAST_RATE and create.cpu_ms / nothing.cpu_ms <= MOST_CPU
    print(f"  aims (a create at {LEAST_RATE} of the rate, {MOST_CPU:.0f} times the CPU): {'met' if met else 'MISSED'}")
    return {"scenario": title, "calls": rows, "met": met}


def _depths(at: Venue) -> list[dict[str, object]]:
    """Prints and returns what does not depend on the number of tenants."""
    create, figures = form(FIELDS), list[dict[str, object]]()
    for limited in (False, True):
        (key,) = at.tenants(1, limited=limited)
        floor = depths.floor(at, key, create)
        title = f"one create{', all limits' if limited else ''}"
        print(f"\n{title}: {floor.round_trips:.1f} round trips to Postgres, {floor.fsyncs:.2f} fsyncs", flush=True)
        figures.append({"scenario": title, "round_trips": floor.round_trips, "fsyncs": floor.fsyncs})
    claimed, empty = depths.claims(at)
    print(f"claims: {claimed:.0f} a second by one worker, {claimed / empty:.2f} of empty transactions", flush=True)
    with at.api() as port:
        through, straight = depths.content(at, Client(port, at.tenants(1, limited=False)), create)
    print(f"content: {through:.0f} MB/s through the API, {through / straight:.2f} of a GET from the object store")
    return [
        *figures,
        {"scenario": "claims", "rate": claimed, "rate_ratio": claimed / empty},
        {"scenario": "content", "megabytes": through, "rate_ratio": through / straight},
    ]


def _renders(at: Venue, model: str, clips: int) -> dict[str, object]:
    """Prints and returns the medians of one worker's clips."""
    found = renders.measure(at, model, clips)
    print(f"\n{model}, one worker, clips of 4 s at 1280x720: drawn in {found.draw:.2f} s each")
    for name, seconds in (("encode", found.encode), ("upload", found.upload), ("idle", found.idle)):
        print(f"  {name:8} {seconds:9.3f} s {seconds / found.draw:9.3f} of drawing")
    met = found.idle / found.draw <= MOST_IDLE
    print(f"  aim (idle for {MOST_IDLE} of drawing): {'met' if met else 'MISSED'}")
    return {"scenario": f"renders of {model}", **asdict(found), "met": met}


if __name__ == "__main__":
    raise SystemExit(main())

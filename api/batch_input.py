"""The input file of a batch: JSON lines, checked as a whole before the first video is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from api import bodies
from domain.batches import MOST_FAULTS, Fault, Line, check, duplicates
from domain.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no line of the file is worked off; the first hundred reasons."""

    faults: tuple[Fault, ...]


def read(content: bytes, most_lines: int) -> tuple[Line, ...] | Refused:
    """Every line of the file, blank ones skipped, or what is wrong with it."""
    raw = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not raw:
        return _refused(Fault("empty_file", "The input file holds no request."))
    if len(raw) > most_lines:
        return _refused(Fault("too_many_requests", f"The input file holds more than {most_lines} requests."))
    checked = [_line(number, line) for number, line in raw]
    lines = tuple(each for each in checked if isinstance(each, Line))
    faults = [each for each in checked if isinstance(each, Fault)]
    faults += duplicates(lines)
    return _refused(*sorted(faults, key=lambda fault: fault.line or 0)) if faults else lines


def _line(number: int, raw: bytes) -> Line | Fault:
    try:
        entry = bodies.parse(raw)
    except InvalidRequest:
        return Fault("invalid_json_line", "This line is not parseable as a JSON object.", number)
    found = check(number, entry)
    return replace(found, body=bodies.present(found.body)) if isinstance(found, Line) else found


def _refused(*faults: Fault) -> Refused:
    return Refused(faults[:MOST_FAULTS])

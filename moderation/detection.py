"""The child of `moderation.detector`: reads a stranger's file from standard input, says on standard output what it is.

It gives up everything but its own memory before it parses a byte.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from moderation.detector import READY
from moderation.media.confinement import confine, die_with_parent
from moderation.media.limits import MEBIBYTE, Limits
from moderation.provenance import verify

LIMITS = Limits(cpu_seconds=5, memory_bytes=512 * MEBIBYTE, file_bytes=MEBIBYTE)


def main(mime: str, trust_root_pem: str) -> None:
    """Verify standard input. Whatever is still to be loaded is loaded by an empty file, while that can be done."""
    die_with_parent()
    root = trust_root_pem or None
    verify(b"", mime, root)
    confine(LIMITS)
    os.write(1, READY)  # what ends this process from now on is the file's doing
    with os.fdopen(0, "rb", closefd=False) as file:
        found = verify(file.read(), mime, root)
    os.write(1, json.dumps(asdict(found)).encode())
    os._exit(0)  # threads of the library need not be asked


if __name__ == "__main__":
    main(*sys.argv[1:3])

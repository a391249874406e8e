"""`kinema provenance`: make the development identity that signs results where no certificate is at hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from moderation.signing import DevelopmentAuthority, development_identity


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("action", choices=("init",))
    parser.add_argument(
        "--folder", type=Path, default=Path("secrets/provenance"), metavar="DIR", help="where keys and certificates go"
    )


def run(options: argparse.Namespace) -> int:
    """Makes what is missing or about to expire, and says where the settings find it."""
    folder: Path = options.folder
    _, root = development_identity(folder)
    leaf = DevelopmentAuthority(folder).leaf
    print(f"KINEMA_PROVENANCE_CERT_FILE={leaf}")
    print(f"KINEMA_PROVENANCE_KEY_FILE={leaf}")
    print(f"KINEMA_PROVENANCE_ROOT_FILE={root}")
    return 0

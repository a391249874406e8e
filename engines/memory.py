"""How much memory weights may fill in a process, and giving it back. Imports torch only where it is loaded already."""

from __future__ import annotations

import gc
import os
import sys


def for_weights() -> int:
    """Bytes: half of the GPU's memory, or of the machine's without one; a render needs the other half."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1]) // 2
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def give_back() -> None:
    """What nobody holds any more, to the GPU's other users too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

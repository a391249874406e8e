"""Several processes that learn together: each from examples of its own, all with the mean of their gradients.

One process with two threads waits for itself wherever the machine has other work; two processes with one thread each
do not, and on machines with several accelerators there is one process for each.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn


def together(count: int, work: Callable[[], None]) -> None:
    """Do the work in `count` processes at once; in this one if it is one. Raises if any of them fails."""
    if count == 1:
        work()
        return
    with tempfile.TemporaryDirectory() as folder:
        spawn(_join, (count, f"file://{folder}/meeting", work), nprocs=count)


def _join(rank: int, count: int, meeting: str, work: Callable[[], None]) -> None:
    # whoever starts a job in the background has it ignore the signal that tells these processes of their parent's end
    signal.signal(signal.SIGINT, signal.default_int_handler)
    backend = "nccl" if torch.cuda.device_count() >= count else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(rank)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=count)
    try:
        work()
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Which of the processes this is; 0 is the one that speaks and saves."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def agreed(value: float) -> float:
    """What process 0 says, in all of them."""
    if not distributed.is_initialized():
        return value
    said = torch.tensor([value], dtype=torch.float64, device=_device())
    distributed.broadcast(said, 0)
    return said.item()


def average_gradients(model: nn.Module) -> None:
    """Give every process the mean of all gradients, in one exchange."""
    if not distributed.is_initialized():
        return
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = torch.cat([_gradient(parameter).flatten() for parameter in learning])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for parameter, part in zip(learning, flat.split([each.numel() for each in learning]), strict=True):
        parameter.grad = part.view_as(parameter)


def average_buffers(model: nn.Module) -> None:
    """Give every process the mean of all buffers: running statistics."""
    if distributed.is_initialized():
        for buffer in model.buffers():
            distributed.all_reduce(buffer)
            buffer.div_(distributed.get_world_size())


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"

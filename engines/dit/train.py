"""Train the model: `python -m engines.dit.train autoencoder|transformer|distil --minutes N --state DIR`.

Then `python -m engines.dit.train export --state DIR` writes the weights that the engine loads. The stages begin with
the weights in `--begin` (a folder of a checkpoint; words that it does not know begin at random), from nothing, or, the
third, from what the second made. They resume from DIR (`codec.pt`, `transformer.pt`, `distilled.pt`), decay the
learning rate over the minutes given, keep an exponential average of the weights, print a line of progress, and write
sample grids next to the state.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from engines.dit import checkpoint as checkpoints
from engines.dit import distil as distilling
from engines.dit import flow, lessons, parallel, train_codec, train_transformer
from engines.dit.checkpoint import Checkpoint
from engines.dit.codec import Codec
from engines.dit.conditioning import Window, controls
from engines.dit.config import SIZES, Config
from engines.dit.lessons import Lesson
from engines.dit.model import Transformer
from engines.dit.run import Run, digest_of
from engines.dit.train_transformer import Batch, Pool

FIRST = 2  # batches of a pool before it is used more than once
AT_ONCE = 8  # clips rendered together
SETTLED = 1000  # steps after which the scale of the latents follows slowly
GRID = 300  # steps between two looks
TOLD = 25  # steps between two lines of progress
GRID_PROMPTS = (
    "a red ball rolls left",
    "a beautiful sunset over a mountain lake, with trees swaying in the wind",
    "a green square slides right on a white background",
    "a futuristic city at night, with flying cars between neon-lit skyscrapers",
    "sunset over the sea",
    "an astronaut floating in space, Earth visible in the background, stars twinkling",
    "a purple star moves up, pencil sketch",
    "a serene mountain lake at sunrise, with mist rising from the water",
    "snow falling over a forest",
    "a campfire burning at night",
)

Progress = Callable[[str], None]


class Stale(Exception):
    """A state that does not belong to the states beside it; the text says which."""


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def train_autoencoder(
    minutes: float, folder: Path, tell: Progress = say, *, begin: Path | None = None, device: str = "cpu"
) -> None:
    """Run or go on with the first stage."""
    torch.manual_seed(0)
    codec = Codec()
    if begin is None:
        train_codec.beginning(codec)
    else:
        codec.load_state_dict(checkpoints.load(begin).codec.state_dict())
    codec.to(device)
    run = Run(codec, folder / "codec.pt", minutes, rate=1.5e-3 if begin is None else 7e-4, decay=0.997)
    error, before = 0.0, 0 if begin is None else SETTLED
    try:
        while run.goes_on():
            with torch.autocast(device, torch.bfloat16):
                video_BTCHW = train_codec.batch_at(own(run.step), device=device)
                loss, squared = train_codec.loss_of(codec, video_BTCHW, before + run.step)
            run.learn(loss)
            error = 0.98 * error + 0.02 * psnr(squared) if error else psnr(squared)
            if run.step % 50 == 0 and not parallel.rank():
                tell(f"codec {run.step} minute {run.clock.elapsed():.1f} loss {loss.item():.4f} psnr {error:.2f}")
            run.save(every=100)
    finally:
        run.save()


def train_denoiser(
    minutes: float,
    folder: Path,
    tell: Progress = say,
    *,
    begin: Path | None = None,
    size: str = "small",
    device: str = "cpu",
    compiling: bool = False,
) -> None:
    """Run or go on with the second stage; needs the codec of the first.

    Compiling takes minutes and makes steps an eighth faster on a processor: it pays for long runs.
    """
    torch.manual_seed(0)
    networks = untrained(folder, begin, SIZES[size])
    model = networks.transformer.train().to(device)
    networks.codec.to(device)
    rate = 2e-3 if begin is None else 1.4e-3
    told = {"words": list(networks.vocabulary.words), "config": networks.config.to_json()}
    told |= of_one_piece(folder / "transformer.pt", {"codec": networks.codec})
    run = Run(model, folder / "transformer.pt", minutes, rate, decay=0.998, networks=told)
    if compiling:
        compiled(model)
    study(run, networks, partial(train_transformer.loss_of, model), folder, tell, device=device)


def distil(minutes: float, folder: Path, tell: Progress = say, *, device: str = "cpu") -> None:
    """Run or go on with the third stage: a student of what the second one made."""
    torch.manual_seed(0)
    taught = averaged(folder)
    teacher, networks = taught.transformer.to(device), checkpoints.student(taught)
    networks.codec.to(device)
    student = networks.transformer.train().to(device)
    told = {"words": list(networks.vocabulary.words), "config": networks.config.to_json()}
    told |= of_one_piece(folder / "distilled.pt", {"codec": taught.codec, "transformer": taught.transformer})
    run = Run(student, folder / "distilled.pt", minutes, rate=7e-4, decay=0.99, networks=told)
    study(run, networks, partial(distilling.loss_of, student, teacher), folder, tell, device=device, begin=0.5)


def study(
    run: Run,
    networks: Checkpoint,
    loss_of: Callable[[Batch, torch.Generator], Tensor],
    folder: Path,
    tell: Progress,
    *,
    device: str,
    begin: float = 0.0,
) -> None:
    """Learn from lessons until the time is over; they begin with those of the share `begin`."""
    codec = networks.codec
    pools: dict[Lesson, Pool] = defaultdict(lambda: Pool([]))
    began, losses, drawn = run.step, dict[str, float](), time.monotonic()
    try:
        while run.goes_on():
            lesson = lessons.lesson_at(begin + (1 - begin) * run.share, Random(run.step * 7919 + 1))
            rng, generator = Random(own(run.step)), torch.Generator().manual_seed(own(run.step))
            replenish(pools[lesson], codec, lesson, rng)
            batch = train_transformer.batch_of(pools[lesson], networks.vocabulary, lesson, rng)
            loss = loss_of(batch.to(device), generator)
            norm = run.learn(loss)
            name = f"{lesson.kind}{min(lesson.size)}x{lesson.window}"
            losses[name] = 0.96 * losses.get(name, loss.item()) + 0.04 * loss.item()
            if run.step % TOLD == 0 and not parallel.rank():
                pace, drawn = (time.monotonic() - drawn) / TOLD, time.monotonic()
                shown = " ".join(f"{name} {value:.3f}" for name, value in sorted(losses.items()))
                tell(f"dit {run.step} minute {run.clock.elapsed():.1f} norm {norm:.2f} {pace:.2f} s/step {shown}")
            if run.step % GRID == 0 and run.step > began and not parallel.rank():
                draw_grid(run, networks, folder / f"grid-{run.path.stem}-{run.step:05d}.png")
            run.save(every=120)
    finally:
        run.save()


def own(step: int) -> int:
    """A number for a step of this process, which no other step of any process has."""
    return step * 1009 + parallel.rank()


def untrained(folder: Path, begin: Path | None, config: Config) -> Checkpoint:
    """The networks as training begins: the codec of the first stage, and whatever `begin` knows already.

    A run that goes on keeps the sizes and the vocabulary that it began with.
    """
    path = folder / "transformer.pt"
    if path.exists():
        networks = described(torch.load(path, weights_only=True, map_location="cpu"))
    else:
        networks = checkpoints.fresh(config, train_transformer.words_of_grammar(config.text))
    networks.codec.load_state_dict(torch.load(folder / "codec.pt", weights_only=True, map_location="cpu")["average"])
    if begin is not None:
        checkpoints.adopt(networks, checkpoints.load(begin))
    return networks


def of_one_piece(path: Path, made_from: Mapping[str, nn.Module]) -> dict[str, str]:
    """Digests of the networks that a state is made from, to be kept in it. Raises Stale if it was made from others."""
    digests = {name: digest_of(network) for name, network in made_from.items()}
    stored = torch.load(path, weights_only=True, map_location="cpu", mmap=True) if path.exists() else {}
    for name, digest in digests.items():
        if stored.get(name, digest) != digest:
            raise Stale(f"{path} was made from another {name}.pt than the one beside it: move it away to begin again")
    return digests


def described(state: dict[str, Any]) -> Checkpoint:
    """Untrained networks of the sizes and the vocabulary that a state of the second stage was made with."""
    return checkpoints.fresh(Config.from_json(state["config"]), state["words"])


def compiled(model: Transformer) -> None:
    """Let every size have a program of its own."""
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001  # pyright: ignore - one program for each size
    for block in model.blocks:
        block.forward = torch.compile(block.forward, dynamic=False)


def replenish(pool: Pool, codec: Codec, lesson: Lesson, rng: Random) -> None:
    """New clips for a pool: many at first, then a few for each step; always as many at once, for one program."""
    if len(pool.examples) < min(FIRST * lesson.rows, 3 * AT_ONCE) or rng.random() < lesson.fresh / AT_ONCE:
        train_transformer.fill(pool, codec, lesson, AT_ONCE, rng)


def draw_grid(run: Run, networks: Checkpoint, path: Path) -> None:
    """Sample the averaged weights for a look by eye, on the processor: one row for each prompt, five frames each."""
    config, vocabulary = networks.config, networks.vocabulary
    model, codec = Transformer(config, vocabulary.rows), Codec(config.codec)
    model.load_state_dict(run.average.values)
    codec.load_state_dict(networks.codec.state_dict())
    shape, length = (config.codec.channels, 18, 32), lessons.WINDOW
    grid = []
    for index, prompt in enumerate(GRID_PROMPTS):
        noise = torch.cat([flow.noise_of(index, 0, frame, shape) for frame in range(length)], dim=1)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            text = model.text(vocabulary.encode([vocabulary.split(prompt), []]))
            kind, text = (flow.Distilled, (text[0][:1], text[1][:1])) if model.distilled else (flow.Guided, text)
            denoise = kind(model, text, Window.of(noise.shape[1:], controls(6.0)), 3.0)
            latents = flow.sample(denoise, noise, flow.schedule(8, length * 144), carries=not model.distilled)
            video = codec.decode(latents)[0, [0, 6, 12, 18, 24]]
        grid.append(torch.cat(list(video), dim=-1))
    picture = torch.cat([torch.cat(grid[0::2], 1), torch.cat(grid[1::2], 1)], dim=-1)
    Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()).save(path)


def averaged(folder: Path, stage: str = "transformer") -> Checkpoint:
    """The averaged weights of a stage and of the autoencoder, with a card that says how long each of them learned."""
    names = ["codec", "transformer", *({stage} - {"transformer"})]
    states = {name: torch.load(folder / f"{name}.pt", weights_only=True, map_location="cpu") for name in names}
    made = described(states[stage])
    made.codec.load_state_dict(states["codec"]["average"])
    made_from: dict[str, nn.Module] = {"codec": made.codec}
    if stage != "transformer":
        made_from["transformer"] = described(states["transformer"]).transformer
        made_from["transformer"].load_state_dict(states["transformer"]["average"])
    of_one_piece(folder / f"{stage}.pt", made_from)
    made.transformer.load_state_dict(states[stage]["average"])
    card = {name: {"steps": state["step"], "minutes": round(state["spent"], 1)} for name, state in states.items()}
    return replace(made, card=card)


def export(folder: Path, out: Path, stage: str = "transformer") -> None:
    """Write the averaged weights of the autoencoder and of a stage as a checkpoint."""
    checkpoints.save(averaged(folder, stage), out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.safetensors"))}
    print(f"{sizes} in all {sum(sizes.values())} bytes, sha256 {checkpoints.digest(out)}")


def psnr(squared: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error."""
    return -10 * torch.log10(squared).item()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("autoencoder", "transformer", "distil", "export"))
    parser.add_argument("--distilled", action="store_true", help="export what the third stage made")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--out", type=Path, default=checkpoints.WEIGHTS)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--begin", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--size", choices=SIZES, default="small")
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    asked.state.mkdir(parents=True, exist_ok=True)
    if asked.stage == "export":
        export(asked.state, asked.out, "distilled" if asked.distilled else "transformer")
        return
    stage = {
        "autoencoder": partial(train_autoencoder, begin=asked.begin),
        "transformer": partial(train_denoiser, begin=asked.begin, size=asked.size),
        "distil": distil,
    }[asked.stage]
    parallel.together(asked.processes, partial(stage, asked.minutes, asked.state, device=asked.device))


if __name__ == "__main__":
    main()

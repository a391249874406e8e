"""`kinema train`: make the embedded model's weights, measure them, fine-tune them; docs/training.md is the manual."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from cli.training_bar import Paused, reporting

WEIGHTS = Path("engines/dit/weights")
STATE = Path(".kinema/training")
THREADS = "how many to compute with; one a core unless given"
INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")

    def stage(name: str, summary: str) -> argparse.ArgumentParser:
        return stages.add_parser(name, help=summary, description=summary)

    _declare_networks(stage("codec", "train the autoencoder"))
    _declare_networks(stage("model", "train the transformer on what the autoencoder makes of clips"))
    _declare_minutes(stage("distil", "teach it to answer once a step instead of twice, and to take longer steps"))
    _declare_export(stage("export", "write what was trained as weights that the engine loads"))
    _declare_evaluate(stage("evaluate", "measure weights with the judges"))
    _declare_sheet(stage("sheet", "draw a contact sheet with weights"))
    _declare_lora(stage("lora", "train an adapter from a folder of clips with captions"))
    _declare_pack(stage("pack", "split a state into files of at most 16 MiB, with a list of their hashes"))
    _declare_unpack(stage("unpack", "join such files, checked, into a state to go on with"))


def run(options: argparse.Namespace) -> int:
    """0, also where a slice is over; 130 after Ctrl-C or SIGTERM, with the state kept; 1 with a sentence on stderr."""
    if getattr(options, "threads", None):
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read when torch is loaded, below
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return STAGES[options.stage](options)
    except Paused:
        print("This slice is over. The same command goes on from here.", file=sys.stderr)
        return 0
    except KeyboardInterrupt:
        print("Stopped, and what was learned is kept. The same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except _refusals() as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _refusals() -> tuple[type[Exception], ...]:
    """What a user can set right. They come with torch, so they are only looked up when something was raised."""
    from engines.dit.clips import BadClips  # noqa: PLC0415 - see above
    from engines.dit.lora import Unfit  # noqa: PLC0415 - see above
    from engines.dit.train import Stale  # noqa: PLC0415 - see above
    from engines.dit.train_lora import OtherTraining  # noqa: PLC0415 - see above
    from engines.dit.travel import Damaged  # noqa: PLC0415 - see above

    return BadClips, Unfit, OtherTraining, Stale, Damaged, FileNotFoundError


def _declare_minutes(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--minutes", type=_positive, required=True, help="of all runs together; a larger number goes on")
    stage.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="what a later run goes on with")
    _declare_machine(stage)


def _declare_networks(stage: argparse.ArgumentParser) -> None:
    _declare_minutes(stage)
    stage.add_argument("--begin", type=Path, metavar="DIR", help="weights to begin with, instead of from nothing")
    stage.add_argument("--size", choices=("small", "medium"), default="small", help="4.7M for two cores, 19M for a GPU")


def _declare_machine(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--slice", type=_positive, metavar="MINUTES", help="stop after so many minutes; the state is kept"
    )
    stage.add_argument("--threads", type=int, metavar="N", help=THREADS)
    stage.add_argument("--device", choices=("cpu", "cuda"), default="cpu")


def _declare_export(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--state", type=Path, default=STATE, metavar="DIR")
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    stage.add_argument("--distilled", action="store_true", help="what `distil` made, not what `model` made")


def _declare_evaluate(stage: argparse.ArgumentParser) -> None:
    _declare_weights(stage)
    stage.add_argument("--count", type=int, default=100, metavar="N", help="prompts of the largest parts (100)")
    stage.add_argument("--part", action="append", metavar="NAME", help="one of the parts; may be given again")
    stage.add_argument("--file", type=Path, help="keeps what is measured after every part; a later run goes on from it")


def _declare_sheet(stage: argparse.ArgumentParser) -> None:
    _declare_weights(stage)
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    stage.add_argument("--only", action="append", metavar="NAME", help="one of the sheets; may be given again")


def _declare_weights(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--weights", type=Path, default=WEIGHTS, metavar="DIR", help="what export wrote")
    stage.add_argument("--steps", type=int, default=8, metavar="N", help="of each clip (8)")
    stage.add_argument("--threads", type=int, metavar="N", help=THREADS)


def _declare_lora(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("folder", type=Path, help="clip.mp4 with clip.txt each, or captions.csv, or captions.jsonl")
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the adapter, a .safetensors file")
    stage.add_argument("--weights", type=Path, default=WEIGHTS, metavar="DIR", help="the base")
    stage.add_argument("--state", type=Path, metavar="FILE", help="what a later run goes on with; beside the adapter")
    stage.add_argument("--minutes", type=_positive, default=10.0, help="of all runs together (10)")
    stage.add_argument("--steps", type=int, metavar="N", help="end after so many steps instead")
    stage.add_argument("--rank", type=_count, default=8, metavar="N", help="size of the adapter (8)")
    stage.add_argument("--alpha", type=_positive, metavar="A", help="its strength at weight 1; the rank unless given")
    stage.add_argument("--rate", type=_positive, default=4e-3, help="of learning (0.004)")
    stage.add_argument("--fps", type=int, default=6, choices=(6, 12), help="frames a second to read clips at (6)")
    stage.add_argument("--seed", type=int, default=0)
    stage.add_argument("--trigger", default="", metavar="WORDS", help="words put in front of every caption")
    _declare_machine(stage)


def _declare_pack(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("file", type=Path, metavar="STATE", help="codec.pt or transformer.pt")
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")


def _declare_unpack(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("file", type=Path, metavar="LIST", help="codec.sha256 or transformer.sha256")
    stage.add_argument("--state", type=Path, default=STATE, metavar="DIR")


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _networks(options: argparse.Namespace) -> int:
    from engines.dit import train, travel  # noqa: PLC0415 - brings torch

    options.state.mkdir(parents=True, exist_ok=True)
    match options.stage:
        case "codec":
            learn, name = partial(train.train_autoencoder, begin=options.begin), "codec.pt"
        case "model":
            learn, name = partial(train.train_denoiser, begin=options.begin, size=options.size), "transformer.pt"
        case _:
            learn, name = train.distil, "distilled.pt"
    spent, since = travel.minutes_in(options.state / name), time.monotonic()
    with reporting(options.slice) as report:

        def tell(line: str) -> None:
            report(min(1.0, (spent + (time.monotonic() - since) / 60) / options.minutes), line)

        learn(options.minutes, options.state, tell, device=options.device)
    print(f"{options.state} holds what was learned; `kinema train export` makes weights of it.")
    return 0


def _export(options: argparse.Namespace) -> int:
    from engines.dit import train  # noqa: PLC0415 - brings torch

    train.export(options.state, options.out, "distilled" if options.distilled else "transformer")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from engines.dit import evaluate  # noqa: PLC0415 - brings torch

    if not _known("part", parts := options.part or list(evaluate.NAMES), evaluate.NAMES):
        return 1
    with reporting() as report:
        found = evaluate.evaluate(
            options.weights, parts, count=options.count, steps=options.steps, file=options.file, say=report
        )
    print(evaluate.markdown(found))
    return 0


def _sheet(options: argparse.Namespace) -> int:
    from engines.dit import evaluate  # noqa: PLC0415 - brings torch
    from engines.dit.engine import DitEngine  # noqa: PLC0415 - the same

    if not _known("sheet", names := options.only or list(evaluate.SHEETS), evaluate.SHEETS):
        return 1
    exam = evaluate.Exam(DitEngine.load(options.weights), steps=options.steps)
    for path in evaluate.draw_sheets(exam, options.out, names):
        print(path)
    return 0


def _known(kind: str, names: Sequence[str], offered: Collection[str]) -> bool:
    """Whether all names are offered; says so if not."""
    unknown = [name for name in names if name not in offered]
    if unknown:
        print(f"There is no {kind} {', '.join(unknown)}; there are {', '.join(offered)}.", file=sys.stderr)
    return not unknown


def _lora(options: argparse.Namespace) -> int:
    from engines.dit import checkpoint, train_lora  # noqa: PLC0415 - brings torch

    base = checkpoint.load(options.weights)
    recipe = train_lora.Recipe(
        minutes=options.minutes,
        steps=options.steps,
        rank=options.rank,
        alpha=options.alpha or float(options.rank),
        rate=options.rate,
        fps=options.fps,
        seed=options.seed,
        trigger=options.trigger,
    )
    print(f"Reading the clips in {options.folder}.", file=sys.stderr)
    with reporting(options.slice) as report:
        adapter = train_lora.train(
            options.folder, base, options.out, recipe, state=options.state, report=report, device=options.device
        )
    print(json.dumps(dict(adapter.card), indent=2))
    print(f'Offer it in models.toml:\n\n[model.loras]\n{options.out.stem} = "{options.out}"')
    return 0


def _pack(options: argparse.Namespace) -> int:
    from engines.dit import travel  # noqa: PLC0415 - brings torch

    for path in travel.pack(options.file, options.out):
        print(f"{path.stat().st_size:>10}  {path}")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    from engines.dit import travel  # noqa: PLC0415 - brings torch

    print(travel.unpack(options.file, options.state))
    return 0


STAGES = {
    "codec": _networks,
    "model": _networks,
    "distil": _networks,
    "export": _export,
    "evaluate": _evaluate,
    "sheet": _sheet,
    "lora": _lora,
    "pack": _pack,
    "unpack": _unpack,
}

"""The report as people read it."""

from __future__ import annotations

from tests.chaos.recovery import Recovery
from tests.chaos.run import TOLD_SECONDS, Outcome

MUST_BE_ZERO = {
    "not accepted": "asked for, and nobody took it",
    "lost": "accepted, and no end was reached",
    "failed": "ended other than asked for",
    "cancelled unasked": "ended as cancelled, and nobody wanted that",
    "doubled creates": "more videos than were asked for",
    "doubled outputs": "other than one result of each kind, of the last attempt",
    "doubled events": "more than one message of a video's end",
    "missing messages": "ends that the receiver never heard of",
    "illegal transitions": "events that the table of states does not know",
    "unbalanced": "videos whose ledger does not close",
    "slots held": "places at work that nobody gave back",
    "orphans": "files of no result that were not swept",
    "wrong files": "results that are not what their digest says",
}
COUNTED = {
    "render attempts": "",
    "crashed attempts": "leases that ran out",
    "zombie finishes rejected": "of these: back with a result, too late",
    "zombies stopped": "of these: back, and saw that they had lost",
    "orphans swept": "files of attempts that did not count",
    "deliveries": "attempts at webhooks",
}


def summary(outcome: Outcome, again: str) -> str:
    """Several lines; the last one is the verdict, with the command that repeats the run."""
    found = outcome.report
    values = {name: getattr(found, name.replace(" ", "_")) for name in (*MUST_BE_ZERO, *COUNTED)}
    slowest = outcome.slowest_create
    verdict = "Nothing lost, nothing doubled." if outcome.good else f"BROKEN: {_broken(outcome)}."
    return "\n".join(
        [
            "",
            f"faults: {_struck(outcome)}, and how long until work went on (seconds)",
            f"  {'fault':<24}{'times':>6}  {'next claim':^15}  {'next completed':^15}",
            f"  {'':<24}{'':>6}  {'p50':>6}{'max':>9}  {'p50':>6}{'max':>9}",
            *(_row(each) for each in outcome.recoveries),
            "",
            (
                f"videos: {found.accepted} accepted in {outcome.requests} requests (slowest {slowest:.1f} s), "
                f"{found.completed} completed, {found.cancelled} cancelled by their users"
            ),
            (
                f"all ended {_after(outcome.settled_seconds)} the last fault; all told and swept "
                f"{_after(outcome.quiet_seconds)} that (of {TOLD_SECONDS:.0f} s)"
            ),
            (
                f"webhooks: {outcome.refused_webhooks} refused by the flapping receiver, "
                f"{outcome.repeated_webhooks} repeated under the same id"
            ),
            "",
            "must be 0",
            *(f"  {name:<26}{values[name]:>5}  {text}" for name, text in MUST_BE_ZERO.items()),
            *(f"    failed as {code}: {count}" for code, count in found.failures.items()),
            "counted",
            *(f"  {name:<26}{values[name]:>5}  {text}".rstrip() for name, text in COUNTED.items()),
            "",
            verdict,
            f"seed {outcome.seed}; the same again: {again}",
        ]
    )


def _struck(outcome: Outcome) -> str:
    missed = sum(not each.hit for each in outcome.faults)
    return f"{len(outcome.faults) - missed}" + (f" (and {missed} that met what was down already)" if missed else "")


def _row(each: Recovery) -> str:
    figures = (each.claim_p50, each.claim_max, each.done_p50, each.done_max)
    claim, claims, done, ends = ("-" if figure is None else f"{figure:.1f}" for figure in figures)
    return f"  {each.kind:<24}{each.times:>6}  {claim:>6}{claims:>9}  {done:>6}{ends:>9}"


def _after(seconds: float | None) -> str:
    return "NOT in time after" if seconds is None else f"{seconds:.1f} s after"


def _broken(outcome: Outcome) -> str:
    wrong = [f"{name.replace('_', ' ')} {value}" for name, value in outcome.report.faults().items()]
    late = ["not settled in time"] if outcome.settled_seconds is None else []
    loud = ["not all told and swept"] if outcome.quiet_seconds is None else []
    refused = [] if outcome.refusal is None else [f"an answer that no fault explains ({outcome.refusal})"]
    return ", ".join([*refused, *wrong, *late, *loud])

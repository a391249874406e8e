"""Prompts by rule: undo disguises, then look for what needs no model to be recognised.

Standard library only and fast: the API runs this in its own process on every create.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from moderation import lexicon
from moderation.policy import Decision, Finding, decide

if TYPE_CHECKING:
    from collections.abc import Callable

# Letters of other scripts that pass for Latin ones, after decomposition and case folding.
HOMOGLYPHS = str.maketrans(
    "авекмнорстухіјѕԁԛԝһӏѡαβεηικμνορτυχγωᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡıłøđħ",
    "abekmhopctyxijsdqwhlwabenikmvoptuxywabcdefghijklmnoprstuvwyzagilodh",
)
LEET = str.maketrans("013457@$€!|8", "oieastaseiib")
UNITS = re.compile(r"\d+(k|p|mm|cm|km|m|s|ms|d|fps|x|th|st|nd|rd|am|pm|kg|g|h|hr|min|hz|gb|v|w|f|c)s?|[a-z]\d+")
LEET_TOKEN = re.compile(r"[a-z0-9@$€!|]+")
LETTER = re.compile(r"[a-z]")
SPACED_LETTERS = re.compile(r"(?<![^\W_])[^\W_](?:(?: [^\W_]){2,}|(?:[._*~-][^\W_]){2,})(?![^\W_])")
REPEATS = re.compile(r"([a-z])\1{2,}")
WORDS = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
ENCODED = re.compile(  # as base64 looks: one long run with capitals, small letters and digits
    r"(?<![\w/.+-])(?=[A-Za-z+/]{0,64}\d)(?=[a-z0-9+/]{0,64}[A-Z])(?=[A-Z0-9+/]{0,64}[a-z])[A-Za-z0-9+/]{32,}"
)
NUMBERS = (
    "zero",
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
AGE = re.compile(
    r"\b(\d{1,2}|[a-z]+) (?:years?|yrs?|y) old|\b(\d{1,2}) ?(?:yo|y o)\b|\bage[ds]? (?:of )?(\d{1,2}|[a-z]+)\b"
)
ADULT = 18
NEAR = 12  # words between an instruction, a verb and what is made


def check(prompt: str) -> Decision:
    """Decide on a prompt by rules alone; every score that no rule touches is 0."""
    return decide(findings(prompt))


def findings(prompt: str) -> tuple[Finding, ...]:
    """Every rule that applies to the prompt, whatever its disguise."""
    text = " ".join(WORDS.findall(normalise(prompt)))
    found = [finding for rule in RULES if (finding := rule(text))]
    if ENCODED.search(prompt):
        found.append(Finding("unreadable", "review"))
    return tuple(found)


def normalise(prompt: str) -> str:
    """Undo disguises: compatibility forms, accents, invisible characters, look-alikes, leet, spaced letters.

    Punctuation stays where it is, so that clauses can still be told apart.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", prompt).casefold())
    if not folded.isascii():
        kept = (character for character in folded if unicodedata.category(character) not in {"Mn", "Me", "Cf"})
        folded = "".join(kept).translate(HOMOGLYPHS)
    return REPEATS.sub(r"\1", LEET_TOKEN.sub(_unleet, SPACED_LETTERS.sub(_join, folded)))


def mentions_minor(prompt: str) -> bool:
    """Whether anybody in the prompt is, or is likely to be, under age."""
    return _minor(_without(" ".join(WORDS.findall(normalise(prompt))), lexicon.HARMLESS))


def _join(run: re.Match[str]) -> str:
    word = re.sub(r"[ ._*~-]", "", run[0])
    # The first letter may be a word of its own: "a b o m b".
    return f"{word} {word[1:]}" if run[0].startswith(("a ", "i ")) else word


def _unleet(token: re.Match[str]) -> str:
    text = token[0]
    if text.isalpha() or not LETTER.search(text) or UNITS.fullmatch(text):
        return text
    end = len(text.rstrip("!|"))
    return text[:end].translate(LEET) + text[end:]


def _sexual_minors(text: str) -> Finding | None:
    text = _without(text, lexicon.HARMLESS)
    if _minor(text) and (_has(text, lexicon.EXPLICIT) or _has(text, lexicon.SUGGESTIVE)):
        return Finding("sexual-minors", "block", "sexual/minors")
    return None


def _explicit(text: str) -> Finding | None:
    if _has(_without(text, lexicon.HARMLESS), lexicon.EXPLICIT):
        return Finding("sexually-explicit", "block", "sexual")
    return None


def _weapon_instructions(text: str) -> Finding | None:
    if _instructs(_without(text, lexicon.HARMLESS_BOMBS), lexicon.WEAPONS):
        return Finding("weapon-instructions", "block", "illicit/violent")
    return None


def _drug_instructions(text: str) -> Finding | None:
    if _instructs(text, lexicon.DRUGS):
        return Finding("drug-instructions", "block", "illicit")
    return None


def _self_harm_instructions(text: str) -> Finding | None:
    if _has(text, lexicon.SELF_HARM) and _has(text, lexicon.INSTRUCTING):
        return Finding("self-harm-instructions", "block", "self-harm/instructions")
    return None


def _extermination(text: str) -> Finding | None:
    if _near(text, lexicon.EXTERMINATION, lexicon.GROUPS, 3):
        return Finding("extermination", "block", "hate/threatening")
    return None


def _likeness(text: str) -> Finding | None:
    return Finding("public-figure", "review") if _has(text, lexicon.PUBLIC_FIGURES) else None


def _trademark(text: str) -> Finding | None:
    return Finding("trademark", "review") if _has(text, lexicon.TRADEMARKS) else None


RULES: tuple[Callable[[str], Finding | None], ...] = (
    _sexual_minors,
    _explicit,
    _weapon_instructions,
    _drug_instructions,
    _self_harm_instructions,
    _extermination,
    _likeness,
    _trademark,
)


def _minor(text: str) -> bool:
    return _has(text, lexicon.MINORS) or any(age < ADULT for age in _ages(text))


def _ages(text: str) -> Iterator[int]:
    for match in AGE.finditer(text):
        word = next(group for group in match.groups() if group)
        if word.isdigit() or word in NUMBERS:
            yield int(word) if word.isdigit() else NUMBERS.index(word)


def _instructs(text: str, things: frozenset[str]) -> bool:
    return _has(text, lexicon.INSTRUCTING) and _near(text, lexicon.MAKING, things, NEAR)


def _has(text: str, phrases: frozenset[str]) -> bool:
    return _pattern(phrases).search(text) is not None


def _without(text: str, phrases: frozenset[str]) -> str:
    return _pattern(phrases).sub(" ", text)


def _near(text: str, first: frozenset[str], second: frozenset[str], words: int) -> bool:
    """Whether a phrase of `second` follows one of `first` with at most `words` words between them."""
    ends = [match.end() for match in _pattern(first).finditer(text)]
    starts = [match.start() for match in _pattern(second).finditer(text)]
    if not ends or not starts:
        return False
    spaces = [place for place, character in enumerate(text) if character == " "]
    for start in starts:
        before = bisect_left(ends, start)
        if before and bisect_left(spaces, start) - bisect_left(spaces, ends[before - 1]) <= words + 1:
            return True
    return False


@cache
def _pattern(phrases: frozenset[str]) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=lambda each: (-len(each), each)))
    return re.compile(rf"\b(?:{alternatives})\b")

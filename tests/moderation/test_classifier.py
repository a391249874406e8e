from __future__ import annotations

import json
import random
import re
import statistics
import string
import time
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch

from moderation import classifier as module
from moderation.classifier import (
    MAX_TOKENS,
    MOST_TOKENS,
    Classifier,
    ClassifierError,
    Encoder,
    Heads,
    TooMuchError,
    windows,
)
from moderation.policy import CATEGORIES, THRESHOLDS, decide
from moderation.prompts import findings, normalise
from moderation.train import HELD_OUT, PADDING, PARENTS, SEEDS, read_lines, seeds_digest

LONGEST = 32_000
SIZES = ("small", "large", "round", "white", "green", "blue", "wooden", "quiet", "bright", "distant")
THINGS = ("boat", "hill", "tree", "cloud", "house", "river", "field", "lamp", "bridge", "garden", "stone", "window")
DEMOS = [
    "A sunset over the sea, waves roll in slowly",
    "A city skyline at night with neon lights",
    "A calm lake in the mountains at dawn",
    "An astronaut walks on the moon",
    "A red ball rolls left across a grey floor",
]


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return Classifier()


def flagged(classifier: Classifier, prompt: str) -> bool:
    return decide(findings(prompt), classifier.score(prompt)).flagged


def share_flagged(classifier: Classifier, prompts: list[str]) -> float:
    return sum(flagged(classifier, prompt) for prompt in prompts) / len(prompts)


def harmful_lines() -> list[str]:
    return [line for file in PARENTS for line in read_lines(HELD_OUT / f"{file}.txt")]


def test_the_committed_heads_were_trained_on_the_committed_seeds() -> None:
    assert json.loads(module.HEADS_PATH.read_text())["seeds"] == seeds_digest()


def test_no_held_out_line_is_a_seed_line() -> None:
    seeds = {line for path in SEEDS.glob("*.txt") for line in read_lines(path)}
    held_out = [line for path in HELD_OUT.glob("*.txt") for line in read_lines(path)]
    assert len(held_out) == len(set(held_out)) > 300
    assert seeds.isdisjoint(held_out)


@pytest.mark.parametrize("prompt", DEMOS)
def test_the_demo_prompts_pass_by_a_wide_margin(prompt: str, classifier: Classifier) -> None:
    assert max(classifier.score(prompt).values()) < THRESHOLDS["violence"].review / 2
    assert findings(prompt) == ()


@pytest.mark.parametrize(
    "prompt",
    ["shooting a film on a windy beach", "a knife on a kitchen table", "a killer whale surfaces beside a kayak"],
)
def test_harmless_prompts_with_harmful_words_pass(prompt: str, classifier: Classifier) -> None:
    assert not flagged(classifier, prompt)


def test_recall_and_false_positives_on_lines_nothing_was_tuned_on(classifier: Classifier) -> None:
    assert share_flagged(classifier, harmful_lines()) >= 0.8
    assert share_flagged(classifier, read_lines(HELD_OUT / "benign.txt")) == 0
    assert share_flagged(classifier, read_lines(HELD_OUT / "benign_hard.txt")) <= 0.08


def test_harmless_padding_hides_little(classifier: Classifier) -> None:
    assert share_flagged(classifier, [PADDING.format(line) for line in harmful_lines()[::3]]) >= 0.75


def test_scores_come_in_every_category_between_zero_and_one(classifier: Classifier) -> None:
    scores = classifier.score("a man stabs a stranger in an alley")
    assert tuple(scores) == CATEGORIES
    assert all(0 <= score <= 1 for score in scores.values())
    assert max(scores, key=scores.__getitem__).startswith("violence")


def test_a_disguised_prompt_scores_like_the_plain_one(classifier: Classifier) -> None:
    plain = classifier.score("a man stabs a stranger")
    assert classifier.score("a m4n st@bs a str4nger") == plain
    assert classifier.score("Ａ man s\u200btabs a stranger") == plain  # noqa: RUF001 - the point


def test_sexual_scores_count_for_minors_only_where_one_is_mentioned(classifier: Classifier) -> None:
    adult = classifier.score("two lovers undress each other in bed")
    assert adult["sexual"] > 0.5
    assert adult["sexual/minors"] == 0
    minor = classifier.score("two teenagers undress each other in bed")
    assert minor["sexual/minors"] == minor["sexual"] > 0


@pytest.mark.parametrize("prompt", ["", "   ", "\u200b", "!!!", "🎈", "日本の夕日"])
def test_a_prompt_without_words_is_scored_without_error(prompt: str, classifier: Classifier) -> None:
    assert max(classifier.score(prompt).values()) < 0.5


def test_windows_cover_every_word_of_a_long_clause() -> None:
    words = [f"w{index}" for index in range(100)]
    found = list(windows(" ".join(words)))
    assert {word for window in found for word in window.split()} == set(words)
    assert max(len(window.split()) for window in found) == 24


def test_clauses_are_read_on_their_own() -> None:
    assert list(windows("a calm lake at dawn, a man is stabbed. The end")) == [
        "a calm lake at dawn",
        "a man is stabbed",
    ]
    assert list(windows("one short clause")) == []


def noise(kind: str) -> str:
    """The longest prompt, of nothing that anybody would say."""
    chance = random.Random(1)
    alphabet = {"letters": string.ascii_lowercase + " ", "symbols": "#%^&*+=<>/~", "chinese": range(0x4E00, 0x9FA5)}
    if kind in alphabet:
        return "".join(c if isinstance(c, str) else chr(c) for c in chance.choices(alphabet[kind], k=LONGEST))
    words = ["".join(chance.choices(string.ascii_lowercase, k=3)) for _ in range(LONGEST // 4)]
    return " ".join(words) if kind == "words" else ",".join(" ".join(words[n : n + 2]) for n in range(0, 8_000, 2))


@pytest.mark.parametrize("kind", ["letters", "symbols", "chinese", "words", "scraps"])
def test_noise_is_refused_before_it_is_read(kind: str, classifier: Classifier) -> None:
    text = noise(kind)
    started = time.process_time()
    with pytest.raises(TooMuchError):
        classifier.score(text)
    took = time.process_time() - started
    print(f"{len(text)} characters of {kind}: {took:.2f} s of one core")
    assert took < 2


def test_the_longest_prompt_in_english_is_read(classifier: Classifier) -> None:
    english = " ".join(text.partition("\n\n")[2] for text in topics.values())
    prose = " ".join(re.findall(r"[A-Za-z]{1,12}[.,]?", english))[:LONGEST]
    assert len(prose) == LONGEST
    for text in (prose, re.sub(r"[.,]", "", prose)):
        pieces = classifier._pieces(normalise(text))
        assert 4_000 < sum(map(len, pieces)) < MOST_TOKENS


def test_everything_of_a_long_text_is_read(classifier: Classifier) -> None:
    words = [f"{first}{second}{third}" for first in "bdfgkl" for second in "aeiou" for third in "mnprstv"]
    texts = {
        "clauses of two words": ", ".join(" ".join(words[n : n + 2]) for n in range(0, len(words), 2)),
        "words of many tokens": " ".join(word * 15 for word in words),
    }
    for kind, text in texts.items():
        plain = normalise(text)
        tokenizer = classifier._encoder._tokenizer
        tokenizer.no_truncation()
        try:
            everything = set(tokenizer.encode(plain).ids)
        finally:
            tokenizer.enable_truncation(MAX_TOKENS)
        pieces = classifier._pieces(plain)
        assert max(map(len, pieces)) <= MAX_TOKENS
        assert {token for piece in pieces for token in piece} >= everything - set(tokenizer.encode(",").ids), kind


def test_harm_in_clauses_of_two_words_is_found_behind_a_long_beginning(classifier: Classifier) -> None:
    calm = ", ".join(f"{size} {thing}" for size in SIZES for thing in THINGS)
    assert not flagged(classifier, calm)
    harm = (
        "a man, stabs a, stranger to, death with, a knife, blood sprays, everywhere and, he stabs, her again, and again"
    )
    assert flagged(classifier, f"{calm}, {harm}, {harm}")


def test_a_typical_prompt_takes_tens_of_milliseconds(classifier: Classifier) -> None:
    prompt = "A drone shot over a misty valley at sunrise, with pines and a river, warm light, 35mm film"
    times = []
    for _ in range(9):
        started = time.perf_counter()
        classifier.score(prompt)
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.3  # generous: the machine may be busy with other tests


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = module._encoder_folder()
    changed = bytearray((folder / "model.safetensors").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(changed)
    monkeypatch.setattr(module, "_encoder_folder", lambda: tmp_path)
    with pytest.raises(ClassifierError, match="not the expected ones"):
        Encoder()


def test_heads_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    path.write_text(module.HEADS_PATH.read_text().replace(module.ENCODER_SHA256, "0" * 64))
    with pytest.raises(ClassifierError, match="another encoder"):
        Heads.read(path)


def test_missing_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENCODER_PACKAGE", "no_such_package_is_installed")
    with pytest.raises(ClassifierError, match="not installed"):
        Encoder()


def test_batches_do_not_change_a_text_s_features() -> None:
    encoder = Encoder()
    texts = ["a cat", "a rather long sentence about a dog that runs along a beach at noon"] * 20
    together, alone = encoder.encode(texts), encoder.encode(["a cat"])
    assert torch.allclose(together[0], alone[0], atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(40), atol=1e-5)

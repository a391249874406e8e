"""Prompts become rows of a table, whatever they are."""

from __future__ import annotations

import pytest
import torch

from engines.dit.checkpoint import Checkpoint
from engines.dit.config import TextConfig
from engines.dit.text import Vocabulary, one_slip

WORDS = ["a", "ball", "lake", "mountain", "red", "rolling", "sea", "sunset", "tree"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(WORDS, TextConfig())


def test_a_known_word_is_one_row_and_an_unknown_word_is_several(vocabulary: Vocabulary) -> None:
    assert vocabulary.rows_of("red") == [WORDS.index("red") + 1]
    rows = vocabulary.rows_of("zeppelin")
    assert len(rows) == 8
    assert all(len(WORDS) < row < vocabulary.rows for row in rows)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("sunsets", "sunset"), ("moutain", "mountain"), ("mountian", "mountain"), ("trees", "tree"), ("lakes", "lake")],
)
def test_endings_and_slips_are_forgiven(vocabulary: Vocabulary, word: str, meant: str) -> None:
    assert vocabulary.known(word) == meant


@pytest.mark.parametrize("word", ["bed", "see", "zeppelin", "x"])
def test_other_words_stay_unknown(vocabulary: Vocabulary, word: str) -> None:
    assert vocabulary.known(word) is None


def test_one_slip_is_one_letter_or_one_swap() -> None:
    assert one_slip("mountain", "mountan")
    assert one_slip("mountain", "mountaain")
    assert one_slip("mountain", "mountaim")
    assert one_slip("mountain", "mountani")
    assert not one_slip("mountain", "mounting")
    assert not one_slip("mountain", "fountain")


def test_a_long_prompt_keeps_its_first_words(vocabulary: Vocabulary) -> None:
    words = vocabulary.split("Red BALL, " * 5000)
    assert words == ["red", "ball"] * 16


def test_prompts_of_different_lengths_do_not_disturb_each_other(networks: Checkpoint) -> None:
    vocabulary, encoder = networks.vocabulary, networks.transformer.text
    short, long = vocabulary.split("red ball"), vocabulary.split("the blue mountain lake over the sunset")
    with torch.no_grad():
        alone, _ = encoder(vocabulary.encode([short]))
        together, bias = encoder(vocabulary.encode([short, long]))
    assert torch.allclose(alone[0], together[0, :3], atol=1e-5)
    assert (bias[0, 0, 0, 3:] < -100).all()


def test_no_words_at_all_are_one_summary(networks: Checkpoint) -> None:
    states, bias = networks.transformer.text(networks.vocabulary.encode([[]]))
    assert states.shape[1] == 2
    assert bias[0, 0, 0, 1] < -100

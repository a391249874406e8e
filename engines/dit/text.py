"""Prompts: words to rows of an embedding table, and the small encoder that reads them in context.

A word of the vocabulary is one row. A word outside it is first looked up by stem and by one slip of the keyboard
("sunsets", "moutain"); what stays unknown is the average of hashed letter triples, which the model has learned to
mostly ignore. Nothing in a prompt can fail: no words at all is the unconditional prompt.

Legend: B prompts, N words, G rows of one word, D features.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.dit.config import TextConfig

WORD = re.compile(r"[^\W_]+")
ROWS = 8  # most rows of a word
SHORTEST_GUESS = 4  # letters; shorter words are not corrected
ENDINGS = ("s", "es", "ing", "ed", "ly", "y")


class Vocabulary:
    """The words that the model was trained with, and the way from text to table rows."""

    def __init__(self, words: Sequence[str], config: TextConfig) -> None:
        self.words, self.config = tuple(words), config
        self.row = {word: index + 1 for index, word in enumerate(words)}  # row 0 is padding
        self.rows = 1 + len(words) + config.buckets

    def split(self, prompt: str) -> list[str]:
        """The first words of a prompt, in lower case."""
        return [match.group() for match in WORD.finditer(prompt[:4000].lower())][: self.config.length]

    def known(self, word: str) -> str | None:
        """The vocabulary's word for a word, if there is one."""
        if word in self.row:
            return word
        return self._stem(word) or self._slip(word)

    def _stem(self, word: str) -> str | None:
        for ending in ENDINGS:
            root = word.removesuffix(ending) if word.endswith(ending) else None
            for guess in (root, root + "e" if root else None, word + ending):
                if guess and len(guess) >= SHORTEST_GUESS - 1 and guess in self.row:
                    return guess
        return None

    def _slip(self, word: str) -> str | None:
        if len(word) <= SHORTEST_GUESS:
            return None
        return next((other for other in self.words if len(other) > SHORTEST_GUESS and one_slip(word, other)), None)

    def rows_of(self, word: str) -> list[int]:
        """Table rows of a word: one if it is known, else its hashed letter triples."""
        known = self.known(word)
        if known is not None:
            return [self.row[known]]
        padded = f"<{word}>"
        triples = [padded[index : index + 3] for index in range(len(padded) - 2)][:ROWS]
        return [1 + len(self.words) + zlib.crc32(triple.encode()) % self.config.buckets for triple in triples]

    def encode(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Prompts as lists of words -> rows_BNG, padded with zeros; N is the longest prompt, at least 1."""
        longest = max(1, *(len(words) for words in prompts)) if prompts else 1
        rows_BNG = torch.zeros(len(prompts), longest, ROWS, dtype=torch.long)
        for index, words in enumerate(prompts):
            for place, word in enumerate(words[: self.config.length]):
                rows = self.rows_of(word)
                rows_BNG[index, place, : len(rows)] = torch.tensor(rows)
        return rows_BNG


def one_slip(word: str, other: str) -> bool:
    """Whether one letter added, lost, changed or swapped with its neighbour turns one word into the other."""
    if abs(len(word) - len(other)) > 1 or word[0] != other[0]:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    a, b = word[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.first, self.second = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.mix = nn.Linear(config.width, 3 * config.width)
        self.leave = nn.Linear(config.width, config.width)
        self.widen = nn.Linear(config.width, 2 * config.width)
        self.narrow = nn.Linear(2 * config.width, config.width)

    def forward(self, x_BND: Tensor, bias_B11N: Tensor) -> Tensor:
        """[B,N,D] -> the same; `bias` hides the padding."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.mix(self.first(x_BND)).chunk(3, -1)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_B11N.to(q.dtype))
        x_BND = x_BND + self.leave(seen.transpose(1, 2).flatten(2))
        return x_BND + self.narrow(functional.gelu(self.widen(self.second(x_BND))))


class TextEncoder(nn.Module):
    """Rows -> states of the words. The first state is a summary; it is all there is for an empty prompt."""

    def __init__(self, rows: int, config: TextConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, config.width, padding_idx=0)
        self.place = nn.Parameter(torch.randn(config.length + 1, config.width) * 0.02)
        self.summary = nn.Parameter(torch.randn(config.width) * 0.5)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.table.weight, std=0.5)

    def forward(self, rows_BNG: Tensor) -> tuple[Tensor, Tensor]:
        """rows_BNG -> states [B,1+N,D] and the additive mask [B,1,1,1+N] (-inf at padding)."""
        used = rows_BNG > 0
        words = self.table(rows_BNG) * used.unsqueeze(-1)
        words = words.sum(2) / used.sum(2, keepdim=True).clamp(min=1)
        x = torch.cat([self.summary.expand(len(words), 1, -1), words], dim=1) + self.place[: words.shape[1] + 1]
        present = torch.cat([torch.ones_like(used[:, :1, 0]), used.any(2)], dim=1)
        bias_B11N = torch.zeros(present.shape, device=x.device).masked_fill(~present, -1e4)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias_B11N)
        return self.norm(x), bias_B11N

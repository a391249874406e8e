"""How a part of a clip is drawn: as a stream of windows, or by anchors whose gaps are filled.

Legend: B clips (always 1 here), L latent frames, Z latent channels, h w latent positions, T frames, H W pixels,
C colours or numbers that steer.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import torch
from torch import Tensor

from engines.dit import windows
from engines.dit.camera import Way, views
from engines.dit.codec import Memory
from engines.dit.conditioning import Window, controls
from engines.dit.drawing import Drawer, Text
from engines.dit.pictures import Frame, carried
from engines.dit.seams import Seams
from engines.dit.sources import Under
from engines.dit.windows import HISTORY, Chain, Span, Stretch

EMPHASIS = {"cartoon": 2.0}  # how strongly a style is told, 1 in training: this one is hard to see in small things


@dataclass(frozen=True, slots=True)
class Layout:
    """The windows of a part: those of each stretch, and where there are several stretches, the chain they fill."""

    stretches: tuple[tuple[Stretch, tuple[Span, ...]], ...]
    chain: Chain | None = None

    @property
    def lengths(self) -> list[int]:
        """Latent frames of each window, in the order of drawing."""
        anchors = [] if self.chain is None else [len(group) for group in self.chain.groups]
        return anchors + [span.length for _, spans in self.stretches for span in spans]


def stream_of(frames: int, pictures: Collection[int], window: int, *, opens: bool = True) -> Layout:
    """One stretch, window after window."""
    stretch = Stretch(frames, opens)
    return Layout(((stretch, windows.spans(stretch, pictures, window)),))


def chain_of(frames: int, pictures: Collection[int], window: int, fps: int) -> Layout:
    """Anchors, and a stretch for each gap, which ends with the anchor that the next one begins with."""
    chain = windows.chain(frames, pictures, window, fps)
    gaps = [Stretch(b - a + 1) for a, b in pairwise(chain.anchors)]
    return Layout(tuple((gap, windows.spans(gap, {0, gap.frames - 1}, window)) for gap in gaps), chain)


@dataclass(frozen=True, slots=True)
class Take:
    """A part ready to be drawn. `pictures` are given frames, `stills` their latents; frame -1 is a source's last one.

    `history` holds the last latent frames of what the part goes on with, `under` the clip that it is painted over,
    and `keep` is 1 where that stays. What a picture has more than its frame fades within a second. Of a gap, `begin` is
    the frame of the take that it is part of.
    """

    frames: int
    fps: int
    text: Text
    motion: float | None
    style: str
    camera: Way = (0.0, 0.0)
    pictures: Mapping[int, Frame] = field(default_factory=dict)
    stills: Mapping[int, Tensor] = field(default_factory=dict)
    history_BLZhw: Tensor | None = None
    under: Under | None = None
    keep_hw: Tensor | None = None
    begin: int = 0

    def steered(self, fps: float) -> Tensor:
        """The numbers that steer its windows, for so many frames a second."""
        return controls(fps, self.motion, self.style, self.camera, emphasis=EMPHASIS.get(self.style, 1.0))

    def views(self, frames: Sequence[float], shape_Zhw: Sequence[int]) -> Tensor:
        """What the camera shows at some frames: view_LV."""
        half_width = shape_Zhw[2] / min(shape_Zhw[1:]) / 2
        return views(self.camera, (self.begin + torch.tensor(frames)) / self.fps, half_width)


def draw(drawer: Drawer, take: Take, layout: Layout) -> Iterator[Frame]:
    """Every frame of the take, in order."""
    if layout.chain is not None:
        yield from _linked(drawer, take, layout, layout.chain)
        return
    stretch, spans = layout.stretches[0]
    first = 0 if take.history_BLZhw is None else -1
    drawn = carried(_streamed(drawer, take, stretch, spans), take.pictures, take.fps, first=first)
    yield from islice(drawn, -first, take.frames - first)


def _linked(drawer: Drawer, take: Take, layout: Layout, chain: Chain) -> Iterator[Frame]:
    """Frames of all gaps. Each gap ends one frame before the anchor that the next one begins with."""
    anchors = _anchors(drawer, take, chain)
    for (stretch, spans), (begin, end) in zip(layout.stretches, pairwise(chain.anchors), strict=True):
        ends = {0: begin, end - begin: end}
        pictures = {place: take.pictures[anchor] for place, anchor in ends.items() if anchor in take.pictures}
        if end not in take.pictures:
            pictures[end - begin] = drawer.decode(anchors[end], None)[0][-1]
        stills = {place: anchors[anchor] for place, anchor in ends.items()}
        gap = replace(take, pictures=pictures, stills=stills, begin=begin)
        drawn = carried(_streamed(drawer, gap, stretch, spans), pictures, take.fps)
        last = end >= take.frames - 1
        yield from islice(drawn, take.frames - begin if last else end - begin)
        if last:
            return


def _anchors(drawer: Drawer, take: Take, chain: Chain) -> dict[int, Tensor]:
    """The latents of every anchor: given ones, and the others drawn, group by group."""
    found = dict(take.stills)
    for group in chain.groups:
        steered_C = take.steered(take.fps * (len(group) - 1) / (group[-1] - group[0]))
        window = Window.of((len(group), *drawer.shape_Zhw), steered_C)
        moments = [windows.anchor_moment(anchor - group[0], take.fps) for anchor in group]
        view_BLV = take.views(group, drawer.shape_Zhw)[None]
        window = replace(window, at_BL=torch.tensor([moments]), still_BL=torch.ones(1, len(group)), view_BLV=view_BLV)
        for index, anchor in enumerate(group):
            if anchor in found:
                window = window.know(index, found[anchor][0, 0])
        latents_BLZhw = drawer.denoise(take.text, window)
        found |= {anchor: latents_BLZhw[:, index : index + 1] for index, anchor in enumerate(group)}
    return found


def _streamed(drawer: Drawer, take: Take, stretch: Stretch, spans: tuple[Span, ...]) -> Iterator[Frame]:
    """Frames as they are drawn; the last one of the history first, if there is one."""
    memory: Memory | None = None
    seams = Seams(take.fps)
    history, reference = take.history_BLZhw, take.stills.get(stretch.reference)
    if history is not None:
        for latent in history.split(1, dim=1):
            frames_THWC, memory = drawer.decode(latent, memory)
        yield seams.passed(frames_THWC)[-1]
    for span in spans:
        window = _beside(_window(drawer, take, stretch, span, history), take, stretch, span, reference)
        window, clean = _over(take, window, span)
        drawn = drawer.denoise(take.text, window, clean)[:, span.history : span.history + span.new]
        reference = drawn[:, :1] if reference is None else reference
        history = drawn[:, -HISTORY:] if history is None else torch.cat([history, drawn], 1)[:, -HISTORY:]
        for number, latent in enumerate(drawn.split(1, dim=1)):
            frames_THWC, memory = drawer.decode(latent, memory)
            yield from seams.passed(frames_THWC, joins=number == _first_drawn(take, span))


def _first_drawn(take: Take, span: Span) -> int:
    """Which of the new latent frames is the first behind known ones."""
    return int(span.begin == 0 and span.start == 0 and 0 in take.stills)


def _window(drawer: Drawer, take: Take, stretch: Stretch, span: Span, history_BLZhw: Tensor | None) -> Window:
    """The window with what is known of its own latent frames."""
    window = Window.of((span.history + span.new, *drawer.shape_Zhw), take.steered(take.fps), start=span.start)
    frames = [stretch.middle(latent) for latent in range(span.begin - span.history, span.begin + span.new)]
    window = replace(window, view_BLV=take.views(frames, drawer.shape_Zhw)[None])
    if history_BLZhw is not None:
        for index in range(span.history):
            window = window.know(index, history_BLZhw[0, index - span.history])
    return window.know(0, take.stills[0][0, 0]) if _first_drawn(take, span) else window


def _beside(window: Window, take: Take, stretch: Stretch, span: Span, reference: Tensor | None) -> Window:
    """The window with pictures beside its own latent frames."""
    for frame in span.stills:
        view_V = take.views([frame], window.known_BLZhw.shape[2:])[0]
        window = window.append(take.stills[frame][0, 0], span.at(stretch.moment(frame)), view_V)
    if span.reference and reference is not None:
        view_V = take.views([stretch.reference], window.known_BLZhw.shape[2:])[0]
        window = window.append(reference[0, 0], span.at(stretch.reference_moment), view_V)
    return window


def _over(take: Take, window: Window, span: Span) -> tuple[Window, Tensor | None]:
    """The window over its source: what is kept of it is known, and the source is where denoising begins."""
    if take.under is None:
        return window, None
    clean = window.known_BLZhw.clone()
    new = slice(span.history, span.history + span.new)
    clean[:, new] = take.under.next(span.new)
    if take.keep_hw is None:
        return window, clean
    known, mask = window.known_BLZhw.clone(), window.mask_BLhw.clone()
    known[:, new], mask[:, new] = clean[:, new] * take.keep_hw, take.keep_hw
    return replace(window, known_BLZhw=known, mask_BLhw=mask), clean

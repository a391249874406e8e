from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import Image

from domain.video import Operation, Plan, Size
from engines import encode as encoding
from engines.encode import EncodeError, encode, pull
from engines.footage import Footage, FootageError
from engines.protocol import Interrupted
from engines.stills import sheet_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Frames = NDArray[np.uint8]

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 120, 40)]


def a_plan(*, seconds: int = 1, rendered: str = "112x64", delivered: str = "224x128", rendered_fps: int = 8) -> Plan:
    return Plan(
        model="testcard",
        prompt="bars",
        seconds=seconds,
        rendered=Size.parse(rendered),
        rendered_fps=rendered_fps,
        delivered=Size.parse(delivered),
        fps=24,
        seed=1,
        steps=1,
        guidance=1.0,
    )


def bars(plan: Plan, frames: int) -> Frames:
    frame_HWC = np.zeros((plan.rendered.height, plan.rendered.width, 3), np.uint8)
    width = plan.rendered.width // len(COLOURS)
    for index, colour in enumerate(COLOURS):
        frame_HWC[:, index * width : (index + 1) * width] = colour
    return np.repeat(frame_HWC[None], frames, axis=0)


def grey_steps(plan: Plan) -> Frames:
    """Frame i of the plan is grey i * 10."""
    levels = np.arange(plan.rendered_frames, dtype=np.uint8) * 10
    shape = (plan.rendered_frames, plan.rendered.height, plan.rendered.width, 3)
    return np.ascontiguousarray(np.broadcast_to(levels[:, None, None, None], shape))


def ignore(_done: int, _total: int) -> None:
    pass


def decoded(path: Path) -> Frames:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def assert_nothing_is_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("encode")]
    for thread in threads:  # its task is over, and it ends on its own time
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_the_clip_has_the_plans_size_length_and_constant_rate(tmp_path: Path) -> None:
    plan = a_plan(seconds=2)
    drafts = encode([bars(plan, 16)], plan, tmp_path, ignore)
    with av.open(str(drafts.video)) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        assert (stream.width, stream.height) == (224, 128)
        assert stream.average_rate == 24
        assert stream.pix_fmt == "yuv420p"
        assert stream.codec_context.name == "h264"
    assert times == pytest.approx([index / 24 for index in range(48)], abs=1e-4)


def test_the_index_comes_before_the_media_so_that_playback_starts_at_once(tmp_path: Path) -> None:
    plan = a_plan()
    data = encode([bars(plan, 8)], plan, tmp_path, ignore).video.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_colours_survive_and_say_which_matrix_they_use(tmp_path: Path) -> None:
    plan = a_plan()
    drafts = encode([bars(plan, 8)], plan, tmp_path, ignore)
    with av.open(str(drafts.video)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
    frame_HWC = decoded(drafts.video)[12]
    for index, colour in enumerate(COLOURS):
        assert np.abs(frame_HWC[64, index * 32 + 16].astype(int) - colour).max() <= 4


def test_each_rendered_frame_is_repeated_in_order(tmp_path: Path) -> None:
    plan = a_plan()
    frames_THWC = decoded(encode([grey_steps(plan)], plan, tmp_path, ignore).video)
    levels = frames_THWC.mean(axis=(1, 2, 3))
    assert levels == pytest.approx([index // 3 * 10 for index in range(24)], abs=2)


def test_a_keyframe_comes_every_two_seconds(tmp_path: Path) -> None:
    plan = a_plan(seconds=5, rendered="32x32", delivered="32x32")
    drafts = encode([bars(plan, 40)], plan, tmp_path, ignore)
    with av.open(str(drafts.video)) as container:
        keys = [index for index, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == [0, 48, 96]


def test_frames_beyond_the_plan_are_not_asked_for(tmp_path: Path) -> None:
    plan = a_plan()
    pulled: list[int] = []

    def chunks() -> Iterator[Frames]:
        for index in range(10):
            pulled.append(index)
            yield bars(plan, 3)

    drafts = encode(chunks(), plan, tmp_path, ignore)
    assert pulled == [0, 1, 2]
    assert len(decoded(drafts.video)) == 24


def test_progress_counts_every_delivered_frame(tmp_path: Path) -> None:
    plan = a_plan()
    seen: list[tuple[int, int]] = []
    encode([bars(plan, 8)], plan, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(index + 1, 24) for index in range(24)]


def test_the_thumbnail_is_the_frame_at_one_third_at_most_640_wide(tmp_path: Path) -> None:
    plan = a_plan(seconds=3, delivered="1280x720")
    drafts = encode([grey_steps(plan)], plan, tmp_path, ignore)
    with Image.open(drafts.thumbnail) as image:
        assert (image.format, image.size) == ("WEBP", (640, 360))
        assert np.asarray(image.convert("RGB")).mean() == pytest.approx(80, abs=3)


def test_a_small_clips_thumbnail_is_not_enlarged(tmp_path: Path) -> None:
    plan = a_plan()
    with Image.open(encode([bars(plan, 8)], plan, tmp_path, ignore).thumbnail) as image:
        assert image.size == (224, 128)


def test_the_sprite_sheet_follows_its_layout(tmp_path: Path) -> None:
    plan = a_plan(seconds=3)
    layout = sheet_layout(plan)
    with Image.open(encode([grey_steps(plan)], plan, tmp_path, ignore).spritesheet) as image:
        assert image.format == "JPEG"
        assert image.size == (layout.columns * layout.tile.width, layout.rows * layout.tile.height)
        sheet_HWC = np.asarray(image)
    for tile, frame in enumerate(layout.frames):
        row, column = divmod(tile, layout.columns)
        middle = sheet_HWC[int((row + 0.5) * layout.tile.height), int((column + 0.5) * layout.tile.width)]
        assert middle.mean() == pytest.approx(frame // 3 * 10, abs=4)


def test_a_long_clips_sheet_has_a_hundred_evenly_spaced_tiles() -> None:
    layout = sheet_layout(a_plan(seconds=20, rendered_fps=24, delivered="1280x720"))
    assert (layout.columns, layout.rows, len(layout.frames)) == (10, 10, 100)
    assert (layout.tile.width, layout.tile.height) == (160, 90)
    assert {later - earlier for earlier, later in zip(layout.frames, layout.frames[1:], strict=False)} == {4, 5}
    assert layout.frames[0] == 0


def test_marks_are_drawn_in_order_before_anything_sees_the_frames(tmp_path: Path) -> None:
    plan = a_plan()

    def white(frames_THWC: Frames) -> Frames:
        return np.full_like(frames_THWC, 255)

    def darker(frames_THWC: Frames) -> Frames:
        return frames_THWC // 2

    drafts = encode([bars(plan, 8)], plan, tmp_path, ignore, marks=(white, darker))
    assert decoded(drafts.video).mean() == pytest.approx(127, abs=2)
    with Image.open(drafts.spritesheet) as image:
        assert np.asarray(image)[:128].mean() == pytest.approx(127, abs=2)


def test_too_few_frames_are_a_clear_error(tmp_path: Path) -> None:
    plan = a_plan()
    with pytest.raises(EncodeError, match="gave 5 of 8 frames"):
        encode([bars(plan, 5)], plan, tmp_path, ignore)
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    "chunk",
    [np.zeros((8, 32, 32, 3), np.uint8), np.zeros((8, 64, 112, 3), np.float32), np.zeros((64, 112, 3), np.uint8)],
    ids=["size", "type", "rank"],
)
def test_frames_of_another_shape_are_a_clear_error(tmp_path: Path, chunk: Frames) -> None:
    with pytest.raises(EncodeError, match=r"uint8 of shape \(T, 64, 112, 3\)"):
        encode([chunk], a_plan(), tmp_path, ignore)
    assert_nothing_is_left(tmp_path)


def test_an_odd_size_is_refused(tmp_path: Path) -> None:
    plan = a_plan(delivered="225x128")
    with pytest.raises(EncodeError, match="225x128"):
        encode([bars(plan, 8)], plan, tmp_path, ignore)
    assert_nothing_is_left(tmp_path)


def test_an_interrupt_from_the_engine_stops_the_encoder_and_leaves_nothing(tmp_path: Path) -> None:
    plan = a_plan(seconds=20)

    def chunks() -> Iterator[Frames]:
        yield bars(plan, 100)
        yield bars(plan, 20)
        raise Interrupted

    with pytest.raises(Interrupted):
        encode(chunks(), plan, tmp_path, ignore)
    assert_nothing_is_left(tmp_path)


def test_a_cancel_does_not_wait_for_frames_in_flight(tmp_path: Path) -> None:
    plan = a_plan(seconds=20)
    encoded: list[int] = []

    def slowly(done: int, _total: int) -> None:
        encoded.append(done)
        time.sleep(0.02)

    def chunks() -> Iterator[Frames]:
        yield bars(plan, 150)
        while not encoded:
            time.sleep(0.001)
        raise Interrupted

    started = time.monotonic()
    with pytest.raises(Interrupted):
        encode(chunks(), plan, tmp_path, slowly)
    assert time.monotonic() - started < 3  # 450 frames at 20 ms would take nine seconds
    assert len(encoded) < 100
    assert_nothing_is_left(tmp_path)


def test_an_error_in_the_encoding_thread_reaches_the_caller_and_closes_the_engine(tmp_path: Path) -> None:
    plan = a_plan(seconds=20)
    closed = threading.Event()

    def chunks() -> Iterator[Frames]:
        try:
            while True:
                yield bars(plan, 8)
        finally:
            closed.set()

    def lost_lease(done: int, _total: int) -> None:
        if done == 30:
            raise Interrupted

    with pytest.raises(Interrupted):
        encode(chunks(), plan, tmp_path, lost_lease)
    assert closed.is_set()
    assert_nothing_is_left(tmp_path)


def test_a_folder_that_is_gone_is_an_encode_error(tmp_path: Path) -> None:
    plan = a_plan()
    with pytest.raises(EncodeError, match="encoder failed"):
        encode([bars(plan, 8)], plan, tmp_path / "gone", ignore)


def test_the_engine_never_runs_more_than_the_queue_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan(seconds=2)
    monkeypatch.setattr(encoding, "QUEUED_BYTES", 2 * bars(plan, 1).nbytes)
    encoded = 0
    ahead: list[int] = []

    def count(done: int, _total: int) -> None:
        nonlocal encoded
        encoded = done
        time.sleep(0.005)

    def chunks() -> Iterator[Frames]:
        for index in range(16):
            ahead.append(index - encoded // 3)
            yield bars(plan, 1)

    encode(chunks(), plan, tmp_path, count)
    assert max(ahead) <= 4  # two queued, one in work, one about to be put


def test_an_engine_is_done_before_its_last_frames_are_encoded(tmp_path: Path) -> None:
    plan, closed, go_on = a_plan(), threading.Event(), threading.Event()

    def chunks() -> Iterator[Frames]:
        try:
            yield from (bars(plan, 8)[index : index + 1] for index in range(8))
        finally:
            closed.set()

    left = pull(chunks(), plan, tmp_path, lambda _done, _total: assert_set(go_on))
    assert closed.is_set()
    go_on.set()
    drafts = left.finish()
    assert decoded(drafts.video).shape[0] == plan.frames


def assert_set(event: threading.Event) -> None:
    assert event.wait(10)


def test_an_interrupt_while_the_last_frames_are_encoded_leaves_nothing(tmp_path: Path) -> None:
    plan = a_plan()

    def lost_lease(done: int, total: int) -> None:
        if done == total:
            raise Interrupted

    left = pull([bars(plan, 8)], plan, tmp_path, lost_lease)
    with pytest.raises(Interrupted):
        left.finish()
    assert_nothing_is_left(tmp_path)


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    plan = a_plan()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = encode([grey_steps(plan)], plan, tmp_path / "a", ignore)
    two = encode(list(grey_steps(plan)[:, None]), plan, tmp_path / "b", ignore)
    for first, second in [(one.video, two.video), (one.thumbnail, two.thumbnail), (one.spritesheet, two.spritesheet)]:
        assert first.read_bytes() == second.read_bytes()


def test_an_extension_begins_with_its_source_at_the_delivered_size(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    original = encode([grey_steps(a_plan(seconds=2))], a_plan(seconds=2), tmp_path / "source", ignore)
    plan = replace(a_plan(), operation=Operation.EXTEND, source_clip="inputs/x", source_seconds=2.0)
    counted: list[tuple[int, int]] = []
    drafts = encode(
        [bars(plan, 8)],
        plan,
        tmp_path,
        lambda done, total: counted.append((done, total)),
        source=Footage(original.video),
    )
    with av.open(str(drafts.video)) as container:
        levels = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert len(levels) == plan.source_frames + plan.frames == 72
    assert levels[45] == pytest.approx(levels[42] + 2, abs=12), "the source goes on to its end"
    assert np.std(levels[48:]) < 1, "then the engine's bars follow"
    assert counted[-1] == (72, 72)
    assert sheet_layout(plan).frames[-1] > 48


def test_a_source_that_cannot_be_read_leaves_no_file(tmp_path: Path) -> None:
    plan = replace(a_plan(), operation=Operation.EXTEND, source_clip="inputs/x", source_seconds=2.0)
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    with pytest.raises(FootageError):
        encode([bars(plan, 8)], plan, tmp_path, ignore, source=Footage(tmp_path / "broken.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]

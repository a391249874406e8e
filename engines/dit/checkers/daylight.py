"""Judge of the time of day, by how bright the sky is and how its warm part is tinted."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from torch import Tensor

from engines.dit.checkers.frames import grey, shrunk

DARK = 0.36  # brightness of the middle of a night sky
WARM = 0.07  # more red than blue: light of a low sun
GLOWING, TINTED = 0.4, 0.1  # shares of the sky that are warm: surely a low sun; perhaps one
PALE = 0.74  # green beside red in that light: a setting sun is redder, a rising one paler


def time_of_day(video_TCHW: Tensor) -> str:
    """sunset, sunrise, day or night."""
    small_TCHW = shrunk(video_TCHW[:: max(1, len(video_TCHW) // 12)], 36)
    height = small_TCHW.shape[-2]
    sky_TCHW = small_TCHW[:, :, height // 7 : height // 2]  # below the bars of a film, above the land
    red, green, blue = sky_TCHW.unbind(1)
    warm = (red > blue + WARM) & (red > 0.25)
    share = warm.float().mean()
    if grey(sky_TCHW).median() < DARK and share < GLOWING:
        return "night"
    if share < TINTED:
        return "day"
    return "sunrise" if (green[warm].mean() / red[warm].mean()) > PALE else "sunset"

"""What a path may hold: ids of videos are anything but the names of collections that lie beside them."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


class VideoId(Convertor[str]):
    """One segment. The reserved names answer for themselves, so that they are never looked up as ids."""

    regex = r"(?!(?:characters|edits|extensions)(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        """As it came; `domain.ids` judges it."""
        return value

    def to_string(self, value: str) -> str:
        """As it came."""
        return value


register_url_convertor("video", VideoId())
VIDEO = "/videos/{video_id:video}"

from __future__ import annotations

import socket

import pytest

from domain.errors import NotFound, Unavailable
from storage.objects import ObjectStore
from tests.fixtures.receiver import raw_server


def break_off(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.")
    connection.close()


def test_an_object_that_breaks_off_half_way_is_unavailable() -> None:
    with raw_server(break_off) as there:
        store = ObjectStore(f"http://127.0.0.1:{there.port}", "key", "secret", "bucket")
        with pytest.raises(Unavailable):
            store.read("some/key")


def test_a_copy_outlives_its_source(object_store: ObjectStore) -> None:
    object_store.put("copies/source", b"a clip", "video/mp4")
    object_store.copy("copies/source", "copies/copy")
    object_store.delete(["copies/source"])
    assert object_store.read("copies/copy") == b"a clip"
    with pytest.raises(NotFound):
        object_store.copy("copies/source", "copies/other")

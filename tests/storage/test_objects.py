from __future__ import annotations

import socket

import pytest

from domain.errors import Unavailable
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

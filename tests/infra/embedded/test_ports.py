from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded import ports
from infra.embedded.errors import StackError


@contextlib.contextmanager
def stranger(port: int = 0) -> Iterator[int]:
    """Another program that listens."""
    with socket.create_server(("127.0.0.1", port)) as server:
        yield server.getsockname()[1]


def test_ports_are_remembered_and_leave_room_for_the_grpc_twin(tmp_path: Path) -> None:
    names = ("postgres", "s3", "s3_volume")
    first = ports.assign(tmp_path / "ports.json", names)
    assert first == ports.assign(tmp_path / "ports.json", names)
    assert len(set(first.values())) == 3
    assert all(port + ports.GRPC_OFFSET < 32_768 for port in first.values())


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    first = ports.assign(tmp_path / "ports.json", ("postgres", "valkey"))
    with stranger(first["postgres"]):
        second = ports.assign(tmp_path / "ports.json", ("postgres", "valkey"))
    assert second["postgres"] != first["postgres"]
    assert second["valkey"] == first["valkey"]


def test_a_port_whose_grpc_twin_is_taken_is_replaced_too(tmp_path: Path) -> None:
    first = ports.assign(tmp_path / "ports.json", ("s3",))
    with stranger(first["s3"] + ports.GRPC_OFFSET):
        assert ports.assign(tmp_path / "ports.json", ("s3",)) != first


def test_a_port_that_just_had_a_connection_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        caller = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # this side goes into TIME_WAIT
        caller.close()
    assert ports.is_free(port)


def test_a_pinned_port_that_is_taken_is_refused_with_advice(tmp_path: Path) -> None:
    with stranger() as port, pytest.raises(StackError, match=f"Port {port} for the api is taken .* --port"):
        ports.assign(tmp_path / "ports.json", ("api",), pinned={"api": port})


def test_a_preferred_port_is_taken_only_while_it_is_free(tmp_path: Path) -> None:
    with stranger() as port:
        other = ports.assign(tmp_path / "one.json", ("api",), preferred={"api": port})["api"]
        assert other != port
    assert ports.assign(tmp_path / "two.json", ("api",), preferred={"api": port})["api"] == port


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(StackError, match="is not a port"):
        ports.refuse_taken("API", port)


def test_a_damaged_state_file_costs_only_the_old_addresses(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"postgres": ')
    assert ports.assign(tmp_path / "ports.json", ("postgres",))["postgres"] > 0

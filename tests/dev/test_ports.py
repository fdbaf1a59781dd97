"""Ports that stay the same between starts."""

import socket
from pathlib import Path

from service.dev.ports import choose_port, is_free, kept_port


def test_kept_port_stays_while_it_is_free(tmp_path: Path) -> None:
    first = kept_port(tmp_path / "port")
    assert kept_port(tmp_path / "port") == first


def test_preferred_port_is_taken_at_first(tmp_path: Path) -> None:
    preferred = choose_port()
    assert kept_port(tmp_path / "port", preferred) == preferred


def test_kept_port_goes_before_the_preferred_one(tmp_path: Path) -> None:
    kept = kept_port(tmp_path / "port")
    assert kept_port(tmp_path / "port", choose_port()) == kept


def test_port_that_someone_listens_on_is_left_to_them(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert not is_free(taken)
        port = kept_port(tmp_path / "port", taken)
    assert port != taken
    assert kept_port(tmp_path / "port", taken) == port

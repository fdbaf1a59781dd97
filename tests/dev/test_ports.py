"""Tests of ports that stay the same between starts."""

import socket
from pathlib import Path

from service.dev.ports import choose_port, is_free, load_or_choose_port


def test_stored_port_is_reused_while_it_is_free(tmp_path: Path) -> None:
    first = load_or_choose_port(tmp_path / "port")
    assert load_or_choose_port(tmp_path / "port") == first


def test_preferred_port_is_used_at_the_first_start(tmp_path: Path) -> None:
    preferred = choose_port()
    assert load_or_choose_port(tmp_path / "port", preferred) == preferred


def test_stored_port_has_priority_over_the_preferred_port(tmp_path: Path) -> None:
    stored = load_or_choose_port(tmp_path / "port")
    assert load_or_choose_port(tmp_path / "port", choose_port()) == stored


def test_port_in_use_is_not_chosen(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        used = listener.getsockname()[1]
        assert not is_free(used)
        port = load_or_choose_port(tmp_path / "port", used)
    assert port != used
    assert load_or_choose_port(tmp_path / "port", used) == port

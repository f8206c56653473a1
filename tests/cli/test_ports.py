"""The ports of `postbacks up`, and the lock on its folder."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from cli.up.ports import PortOptions, reserve_ports
from cli.up.stack import Endpoints
from cli.up.stack_file import AddressInUse, lock_data_dir
from runtime.errors import InvalidSetting
from runtime.settings import load_settings
from tests.support.kafka import free_ports

FREE_PORTS = PortOptions(port=0, kafka_port=0, clickhouse_port=0, data=None)


def addresses(endpoints: Endpoints) -> list[str]:
    found = [endpoints.listen, endpoints.kafka, endpoints.clickhouse, endpoints.provider]
    return [address for address in (*found, *endpoints.ops.values()) if address]


def test_every_process_gets_its_own_free_port() -> None:
    with reserve_ports(load_settings({}), FREE_PORTS) as endpoints:
        assert len(set(addresses(endpoints))) == 7
    assert all(address.startswith("127.0.0.1:") for address in addresses(endpoints))
    assert not any(address.endswith(":0") for address in addresses(endpoints))


@pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux only")
def test_ports_stay_reserved_for_the_processes() -> None:
    with reserve_ports(load_settings({}), FREE_PORTS) as endpoints:
        for address in addresses(endpoints):
            host, _, port = address.rpartition(":")
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((host, int(port)))


def test_two_options_cannot_choose_one_port() -> None:
    (port,) = free_ports(1)
    options = PortOptions(port=port, kafka_port=0, clickhouse_port=port, data=None)
    with (
        pytest.raises(AddressInUse, match=rf"^Port {port} on 127.0.0.1 .* another with --clickhouse-port"),
        reserve_ports(load_settings({}), options),
    ):
        pass


@pytest.mark.parametrize(
    ("field", "option", "alternative"),
    [
        ("port", "--port", ""),
        ("kafka_port", "--kafka-port", ", or set POSTBACKS_KAFKA to use a running broker"),
        ("clickhouse_port", "--clickhouse-port", ", or set POSTBACKS_CLICKHOUSE to use a running server"),
    ],
)
def test_port_in_use_error_names_the_option(field: str, option: str, alternative: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"port": 0, "kafka_port": 0, "clickhouse_port": 0, field: port}
        with (
            pytest.raises(AddressInUse) as raised,
            reserve_ports(load_settings({}), PortOptions(**ports, data=None)),
        ):
            pass
    problem = f"Port {port} on 127.0.0.1 cannot be used: Address already in use"
    assert str(raised.value) == f"{problem}. Choose another with {option}{alternative}"


def test_configured_engine_gets_no_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings = load_settings(
            {"POSTBACKS_KAFKA": address, "POSTBACKS_CLICKHOUSE": f"http://default:@{address}/postbacks"}
        )
        options = PortOptions(port=0, kafka_port=None, clickhouse_port=None, data=None)
        with reserve_ports(settings, options) as endpoints:
            assert endpoints.kafka is None
            assert endpoints.clickhouse is None


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("POSTBACKS_KAFKA", "127.0.0.1:9092", "--kafka-port"),
        ("POSTBACKS_CLICKHOUSE", "http://default:@127.0.0.1:8123/postbacks", "--clickhouse-port"),
    ],
)
def test_port_of_a_configured_engine_is_refused(setting: str, value: str, option: str) -> None:
    with (
        pytest.raises(InvalidSetting, match=rf"^{option} is for the embedded engine, and {setting} names"),
        reserve_ports(load_settings({setting: value}), FREE_PORTS),
    ):
        pass


def test_port_option_keeps_the_configured_host() -> None:
    with reserve_ports(load_settings({"POSTBACKS_LISTEN": "0.0.0.0:1"}), FREE_PORTS) as endpoints:
        host, _, port = endpoints.listen.rpartition(":")
    assert host == "0.0.0.0"
    assert int(port) > 1


def test_data_option_overrides_the_setting(tmp_path: Path) -> None:
    settings = load_settings({"POSTBACKS_DATA": str(tmp_path / "set")})
    with reserve_ports(settings, FREE_PORTS) as endpoints:
        assert endpoints.data == tmp_path / "set"
    with reserve_ports(settings, PortOptions(0, 0, 0, tmp_path / "given")) as endpoints:
        assert endpoints.data == tmp_path / "given"


def test_two_stacks_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        lock_data_dir(tmp_path / "data"),
        pytest.raises(AddressInUse, match=r"Another `postbacks up` uses .*data\. Choose another with --data"),
        lock_data_dir(tmp_path / "data"),
    ):
        pass
    with lock_data_dir(tmp_path / "data"):
        pass  # the lock is free again


@pytest.mark.skipif(os.geteuid() != 0, reason="as another user, /proc fails in another way")
def test_unusable_folder_error_names_it() -> None:
    with (
        pytest.raises(AddressInUse, match=r"/proc/nowhere cannot be used: .*--data"),
        lock_data_dir(Path("/proc/nowhere")),
    ):
        pass

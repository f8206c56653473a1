"""Where the processes of `postbacks up` are: what is taken is said, what is free is found."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cli.up.ports import PortOptions, allocate_ports
from cli.up.stack_file import AddressInUse, lock_data_dir
from runtime.errors import InvalidSetting
from runtime.settings import load_settings

ANYWHERE = PortOptions(port=0, kafka_port=0, clickhouse_port=0, data=None)


def test_every_process_gets_a_free_port_of_its_own() -> None:
    places = allocate_ports(load_settings({}), ANYWHERE)
    addresses = [places.listen, places.kafka, places.clickhouse, *places.ops.values()]
    assert len(set(addresses)) == 6
    assert all(address and address.startswith("127.0.0.1:") for address in addresses)
    assert not any(address and address.endswith(":0") for address in addresses)


@pytest.mark.parametrize(
    ("wanted", "option", "instead"),
    [
        ("port", "--port", ""),
        ("kafka_port", "--kafka-port", ", or set POSTBACKS_KAFKA to use a broker that runs already"),
        ("clickhouse_port", "--clickhouse-port", ", or set POSTBACKS_CLICKHOUSE to use a server"),
    ],
)
def test_a_port_in_use_is_named_with_the_option_that_moves_it(wanted: str, option: str, instead: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"port": 0, "kafka_port": 0, "clickhouse_port": 0, wanted: port}
        with pytest.raises(AddressInUse) as refused:
            allocate_ports(load_settings({}), PortOptions(**ports, data=None))
    problem = f"Port {port} on 127.0.0.1 cannot be used: Address already in use"
    assert str(refused.value).startswith(f"{problem}. Choose another with {option}{instead}")


def test_an_engine_that_a_setting_names_gets_no_place_even_where_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings = load_settings(
            {"POSTBACKS_KAFKA": address, "POSTBACKS_CLICKHOUSE": f"http://default:@{address}/postbacks"}
        )
        places = allocate_ports(
            settings, PortOptions(port=0, kafka_port=None, clickhouse_port=None, data=None)
        )
    assert places.kafka is None
    assert places.clickhouse is None


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("POSTBACKS_KAFKA", "127.0.0.1:9092", "--kafka-port"),
        ("POSTBACKS_CLICKHOUSE", "http://default:@127.0.0.1:8123/postbacks", "--clickhouse-port"),
    ],
)
def test_port_for_an_engine_that_runs_elsewhere_is_refused(setting: str, value: str, option: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"^{option} is for the embedded engine, and {setting} names"):
        allocate_ports(load_settings({setting: value}), ANYWHERE)


def test_the_port_moves_the_gateway_and_leaves_its_host_to_the_settings() -> None:
    places = allocate_ports(load_settings({"POSTBACKS_LISTEN": "0.0.0.0:1"}), ANYWHERE)
    host, _, port = places.listen.rpartition(":")
    assert host == "0.0.0.0"
    assert int(port) > 1


def test_the_folder_is_the_one_that_was_asked_for_else_that_of_the_settings(tmp_path: Path) -> None:
    settings = load_settings({"POSTBACKS_DATA": str(tmp_path / "set")})
    assert allocate_ports(settings, ANYWHERE).data == tmp_path / "set"
    asked = PortOptions(0, 0, 0, tmp_path / "asked")
    assert allocate_ports(settings, asked).data == tmp_path / "asked"


def test_two_stacks_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        lock_data_dir(tmp_path / "data"),
        pytest.raises(AddressInUse, match=r"Another `postbacks up` uses .*data\. Choose another with --data"),
        lock_data_dir(tmp_path / "data"),
    ):
        pass
    with lock_data_dir(tmp_path / "data"):
        pass  # and the next one may


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc refuses folders to everybody, and tells root alone so")
def test_a_folder_that_cannot_be_made_is_named() -> None:
    with (
        pytest.raises(AddressInUse, match=r"/proc/nowhere cannot be used: .*--data"),
        lock_data_dir(Path("/proc/nowhere")),
    ):
        pass

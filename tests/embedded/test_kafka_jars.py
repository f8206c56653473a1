"""Kafka's jars: missing ones are downloaded, corrupt ones refused, failures reported."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jgo.maven import MavenContext

from embedded.kafka.installation import Jar, ensure_jars, locked_jars, version
from runtime.errors import StartupError
from runtime.settings import load_settings
from tests.support.process import run_module


@pytest.fixture(scope="module")
def jars() -> list[Path]:
    """The jars in the cache of this machine."""
    return ensure_jars(load_settings().cache_folder)


@pytest.fixture
def missing() -> Jar:
    """The smallest jar, which is missing in `cache`."""
    return min(locked_jars(), key=lambda jar: jar.size)


@pytest.fixture
def cache(tmp_path: Path, jars: list[Path], missing: Jar) -> Path:
    """A cache without the missing jar."""
    folder = tmp_path / "cache" / f"kafka-{version()}"
    folder.mkdir(parents=True)
    for jar in jars:
        if jar.name != missing.name:
            (folder / jar.name).symlink_to(jar)
    return folder.parent


@pytest.fixture
def repository(
    tmp_path: Path, jars: list[Path], missing: Jar, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The missing jar in a Maven repository on loopback, which replaces Maven Central."""
    group, artifact, number = missing.coordinates.split(":")
    file = tmp_path / "repository" / group.replace(".", "/") / artifact / number / missing.name
    file.parent.mkdir(parents=True)
    file.write_bytes(next(jar for jar in jars if jar.name == missing.name).read_bytes())
    files = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        remote = {"loopback": f"http://127.0.0.1:{server.server_port}"}
        monkeypatch.setattr("jgo.maven.MavenContext", partial(MavenContext, remote_repos=remote))
        yield file
        server.shutdown()
        thread.join()


def test_missing_jar_is_downloaded_with_progress(cache: Path, missing: Jar, repository: Path) -> None:
    reported: list[tuple[int, int]] = []
    found = ensure_jars(cache, lambda done, total: reported.append((done, total)))
    assert [jar.name for jar in found] == [jar.name for jar in locked_jars()]
    assert (cache / f"kafka-{version()}" / missing.name).read_bytes() == repository.read_bytes()
    assert reported == [(missing.size, missing.size)]


def test_truncated_jar_is_downloaded_again(cache: Path, missing: Jar, repository: Path) -> None:
    truncated = cache / f"kafka-{version()}" / missing.name
    truncated.write_bytes(repository.read_bytes()[:-1])
    ensure_jars(cache)
    assert truncated.read_bytes() == repository.read_bytes()


def test_jar_with_wrong_checksum_is_refused(cache: Path, missing: Jar, repository: Path) -> None:
    repository.write_bytes(bytes(missing.size))
    with pytest.raises(StartupError, match=f"{missing.coordinates} has the SHA-256 .* instead of"):
        ensure_jars(cache)
    assert not (cache / f"kafka-{version()}" / missing.name).exists()


def test_complete_cache_needs_no_network(
    cache: Path, missing: Jar, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_jars(cache)
    repository.unlink()
    reported: list[tuple[int, int]] = []
    ensure_jars(cache, lambda done, total: reported.append((done, total)))
    assert reported == []


def test_missing_jars_are_counted_without_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "http://127.0.0.1:1"
    monkeypatch.setenv("https_proxy", closed)
    monkeypatch.setenv("no_proxy", "")
    arguments = ("embedded", "kafka", "--port", "0", "--data", cache.parent / "data")
    done = run_module(*arguments, cache=cache, HTTPS_PROXY=closed, NO_PROXY="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Kafka's jars cannot be downloaded (")
    assert f"1 of {len(locked_jars())} are not in {cache / f'kafka-{version()}'}" in done.stderr
    assert "POSTBACKS_CACHE" in done.stderr

"""The class cache of Kafka: created once, created again when jars change, and never a reason not to start."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.kafka.class_cache import with_class_cache
from embedded.kafka.installation import Kafka, installed_kafka
from runtime.settings import load_settings

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def installed() -> Kafka:
    settings = load_settings()
    kafka = installed_kafka(settings.java, settings.cache_folder)
    if not kafka.packaged:
        pytest.skip("Java is not the packaged one")
    return kafka


@pytest.fixture
def broken(installed: Kafka, tmp_path: Path) -> Kafka:
    """An installation whose Java cannot run, with the class cache of the one that can."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    for jar in installed.jars:
        (tmp_path / jar.name).symlink_to(jar)
    cache = cache_of(with_class_cache(installed))
    os.link(cache, tmp_path / cache.name)
    return replace(installed, java=java, jars=[tmp_path / jar.name for jar in installed.jars])


def cache_of(kafka: Kafka) -> Path:
    return Path(kafka.options[-1].removeprefix("-XX:AOTCache="))


def test_class_cache_fits_the_classes_of_kafka(installed: Kafka, tmp_path: Path) -> None:
    cached = with_class_cache(installed)
    strict = replace(
        cached, options=(*cached.options, "-XX:AOTMode=on")
    )  # else Java would ignore a wrong one
    done = subprocess.run(
        strict.command(tmp_path / "log", "kafka.tools.StorageTool", "random-uuid"), timeout=60
    )
    assert done.returncode == 0


def test_class_cache_is_created_once(installed: Kafka) -> None:
    created = cache_of(with_class_cache(installed)).stat().st_mtime_ns
    assert cache_of(with_class_cache(installed)).stat().st_mtime_ns == created


def test_class_cache_of_the_jars_is_used(broken: Kafka) -> None:
    assert cache_of(with_class_cache(broken)).parent == broken.jars[0].parent


def test_kafka_starts_uncached_if_creation_fails(broken: Kafka) -> None:
    for cache in broken.jars[0].parent.glob("*.aot"):
        cache.unlink()
    assert with_class_cache(broken) is broken


def test_class_cache_older_than_a_jar_is_not_used(broken: Kafka, tmp_path: Path) -> None:
    changed = tmp_path / "changed.jar"
    changed.touch()
    installation = replace(broken, jars=[*broken.jars, changed])
    assert with_class_cache(installation) is installation


def test_java_of_the_user_gets_no_class_cache(installed: Kafka) -> None:
    own = replace(installed, packaged=False)
    assert with_class_cache(own) is own

"""Kafka's jars: which they are, and where they are on this machine once they are downloaded.

`jars.lock` names each with its SHA-256. A download is verified before it gets its name, so that a broken one
is taken up again with the next start.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from requests import RequestException

from embedded.errors import CannotServe

LOCK_FILE = Path(__file__).parent / "jars.lock"
DOWNLOADS = 8
MISSING = (
    "Kafka's jars cannot be downloaded ({reason}), and {count} of {total} are not in {folder}. They come "
    "from Maven Central: allow this machine to reach it, or bring a copy of that folder from another one "
    "(POSTBACKS_CACHE names the folder above it)"
)

#: Is told how many bytes there are of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Jar:
    """A locked jar; `group:artifact:version`, SHA-256 in hex, size in bytes."""

    coordinates: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def locked_jars() -> list[Jar]:
    """What `jars.lock` names."""
    lines = [line.split() for line in LOCK_FILE.read_text().splitlines() if not line.startswith("#")]
    return [Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in lines]


def version() -> str:
    """Of Kafka."""
    (found,) = (jar.coordinates.split(":")[2] for jar in locked_jars() if ":kafka_2.13:" in jar.coordinates)
    return found


def ensure_jars(cache: Path, progress: Progress = lambda done, total: None) -> list[Path]:
    """Kafka's jars in a folder of the cache, downloaded if they are missing.

    Several processes may ask at once: one downloads, the others wait.

    Raises:
        CannotServe: some are missing and cannot be downloaded.
    """
    folder, jars = cache / f"kafka-{version()}", locked_jars()
    if missing := _missing(folder, jars):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            missing = _missing(folder, jars)  # another process may have brought them
            try:
                _download(folder, missing, progress)
            except (RequestException, OSError, RuntimeError) as error:
                left = len(_missing(folder, jars))
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise CannotServe(
                    MISSING.format(reason=reason, count=left, total=len(jars), folder=folder)
                ) from error
    return [folder / jar.name for jar in jars]


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """A jar has its name only once it is complete; its size tells one that was cut later."""
    return [
        jar
        for jar in jars
        if not (folder / jar.name).is_file() or (folder / jar.name).stat().st_size != jar.size
    ]


def _download(folder: Path, jars: Sequence[Jar], progress: Progress) -> None:
    total, done = sum(jar.size for jar in jars), 0
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        for size in threads.map(lambda jar: _fetch(folder, jar), jars):
            done += size
            progress(done, total)


def _fetch(folder: Path, jar: Jar) -> int:
    from jgo.maven import MavenContext, PythonResolver  # slow to import, and needed once

    group, artifact, number = jar.coordinates.split(":")
    with TemporaryDirectory(dir=folder, prefix=".download-") as part:
        context = MavenContext(repo_cache=Path(part), resolver=PythonResolver())
        fetched = context.project(group, artifact).at_version(number).artifact().resolve()
        found = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if found != jar.sha256:
            raise OSError(f"{jar.coordinates} has the SHA-256 {found} instead of {jar.sha256}")
        whole = Path(part) / jar.name
        shutil.copyfile(fetched, whole)
        whole.replace(folder / jar.name)
    return jar.size


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

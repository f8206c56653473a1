"""CPU time of a process, from /proc."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness.usage import cpu_seconds

SHORT_LIVED_THREADS = """
from threading import Thread
print(flush=True)
while True:
    threads = [Thread(target=int) for _ in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_threads_may_end_while_cpu_is_read() -> None:
    arguments = [sys.executable, "-c", SHORT_LIVED_THREADS]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            before = cpu_seconds(process.pid)
            for _ in range(3000):
                after = cpu_seconds(process.pid)
            assert after > before
        finally:
            process.kill()

"""CPU of a process is counted while its threads come and go."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness.usage import cpu_seconds

RESTLESS = """
from threading import Thread
print(flush=True)
while True:
    threads = [Thread(target=int) for _ in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_a_thread_may_end_while_it_is_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", RESTLESS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            before = cpu_seconds(process.pid)
            for _ in range(3000):
                after = cpu_seconds(process.pid)
            assert after > before
        finally:
            process.kill()

"""Instructions a page costs without a server, by callgrind: `python -m tests.benchmarks.database.counting SETUP,...`.

Counts hardly depend on what else the machine does, and show a difference of one in a hundred, which no clock does here.
Each setup runs in a process of its own, once for few requests and once for more: the difference is the requests' own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import threading
from io import BytesIO

from tests import services
from tests.benchmarks.common.places import PROJECT, ROOT
from tests.benchmarks.database.setups import SETUPS

FEW, MORE, FIRST = 4, 24, 6
LIMIT_S = 1200.0
MODULE = "tests.benchmarks.database.counting"
VALGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", MODULE)
COLLECTED = re.compile(r"Collected : (\d+)")


def require_ok(status: str, *_: object) -> None:
    """In place of start_response(): an error page costs something else."""
    if not status.startswith("200"):
        raise RuntimeError(f"the page answered {status}")


def serve(path: str, threads: int, requests: int) -> None:
    """In the process that is counted: so many requests in each of so many threads, at once."""
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()

    def ask(count: int) -> None:
        for _ in range(count):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
            response = application({**environ, "wsgi.input": BytesIO()}, require_ok)
            b"".join(response)
            response.close()

    def together(count: int) -> None:
        workers = [threading.Thread(target=ask, args=(count,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    ask(FIRST)
    gc.collect()
    gc.disable()
    together(requests)
    sys.stdout.flush()
    os._exit(0)


def count(environment: dict[str, str], path: str, threads: int) -> int:
    """Instructions a request. Raises CalledProcessError."""
    totals = []
    for requests in (FEW, MORE):
        said = subprocess.run(
            [*VALGRIND, "--serve", path, str(threads), str(requests)], env={**os.environ, **environment},
            capture_output=True, text=True, timeout=LIMIT_S, check=True,
        )  # fmt: skip
        found = COLLECTED.search(said.stderr)
        assert found is not None, said.stderr
        totals.append(int(found[1]))
    return (totals[1] - totals[0]) // (threads * (MORE - FEW))


def main() -> None:
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    from tests.benchmarks.database.__main__ import fill

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setups", type=lambda given: given.split(","), help=", ".join(SETUPS))
    parser.add_argument("--page", default="five")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=4, help="of each pool")
    chosen = parser.parse_args()
    with services.scratch_database("postgres") as address:
        fill(address)
        for setup in (SETUPS[name] for name in chosen.setups):
            facts = {"database": setup.database(address, chosen.size), "middleware": setup.middleware()}
            environment = {
                "PYTHONPATH": f"{ROOT}:{PROJECT}", "PYTHONHASHSEED": "0", "BENCHMARK_SETUP": json.dumps(facts),
                "DJANGO_SETTINGS_MODULE": "benchsite.database_settings",
            }  # fmt: skip
            print(f"{setup.title:<38}{count(environment, f'/{chosen.page}', chosen.threads):>12,}", flush=True)


if __name__ == "__main__":
    main()

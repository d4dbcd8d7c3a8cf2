"""`python tests/crash/run.py --seconds 600`: load and chaos for that long, then the verdict. Prints its counts.

With `--engine` the engine is killed too: only inside tests/e2e/engine/own_engine.sh, where it is nobody else's.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from crash.chaos import Chaos
from crash.ledger import Ledger
from crash.load import Worker
from crash.verdict import check, check_leftovers, check_removal
from support.live import LiveServer

WORKERS = 3
ENGINE_PID = Path("/run/docker.pid")
ENGINE_SCRIPT = Path(__file__).parents[2] / "docker/engine.sh"


def restart_engine() -> None:
    """Kill the engine and start it again."""
    os.kill(int(ENGINE_PID.read_text()), signal.SIGKILL)
    time.sleep(0.2)
    subprocess.run([ENGINE_SCRIPT], check=True, capture_output=True, timeout=120)


def run(seconds: float, seed: int, *, engine: bool) -> list[str]:
    """Return what is wrong at the end."""
    with tempfile.TemporaryDirectory() as home:
        server = LiveServer(Path(home), SANDLOT_POOL_SIZE="2")
        server.start()
        try:
            os.environ.update(server.sdk_environment)
            ledger = Ledger(Path(home) / "sandlot.db")
            wrong = _let_loose(server, ledger, seconds, seed, engine=engine)
            wrong += check(server, ledger)
            wrong += check_leftovers(server, ledger)
            if wrong:
                print(server.read_log(), file=sys.stderr)
        except BaseException:
            print(server.read_log(), file=sys.stderr)
            raise
        finally:
            installation = server.installation
            server.remove()
        wrong += check_removal(installation)
    print(f"seed {seed}, {seconds:.0f} s: " + ", ".join(f"{name} {n}" for name, n in sorted(ledger.counts.items())))
    return wrong


def _let_loose(server: LiveServer, ledger: Ledger, seconds: float, seed: int, *, engine: bool) -> list[str]:
    stop, calm = threading.Event(), threading.Event()
    workers = [Worker(number, seed, ledger, stop) for number in range(WORKERS)]
    chaos = Chaos(seed, server, ledger, calm, restart_engine if engine else None)
    for thread in (*workers, chaos):
        thread.start()
    time.sleep(seconds)
    calm.set()
    chaos.join()
    stop.set()
    for worker in workers:
        worker.join()
    return [f"chaos ended early: {chaos.error!r}"] if chaos.error else []


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--engine", action="store_true")
    options = parser.parse_args()
    wrong = run(options.seconds, options.seed, engine=options.engine)
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

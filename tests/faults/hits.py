"""The faults. Each says what it has hit, so that a test that hits nothing is no test."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import psutil
import psycopg2

from faults.services import Network
from faults.testbed import RESULTS, Testbed, wait_for
from with_airflow.clusters import kill_family, worker_process


def kill_worker(made: Testbed, worker: str) -> None:
    """SIGKILL a worker and all its tasks at once."""
    at_work = made.tasks("running")
    kill_family(worker_process(made.cluster, worker))
    made.say(f"worker {worker} killed; running: {sorted(at_work)}")


def end_worker_warmly(made: Testbed, worker: str) -> None:
    """SIGTERM: it finishes what it has begun, and is started again."""
    process = worker_process(made.cluster, worker)
    at_work = made.tasks("running")
    process.terminate()
    gone, _ = psutil.wait_procs([process], timeout=120)
    assert gone, "a worker that was told to stop goes on"
    made.say(f"worker {worker} ended by SIGTERM; running: {sorted(at_work)}")


def kill_scheduler(made: Testbed) -> None:
    scheduler = next(p for p in made.cluster.processes() if p.cmdline()[-1:] == ["scheduler"])
    scheduler.kill()
    psutil.wait_procs([scheduler], timeout=10)
    made.say(f"scheduler killed; queued: {sorted(made.tasks('queued'))}")


def restart_broker(made: Testbed, number: signal.Signals, away_s: float) -> None:
    """End the broker, and start it again after some seconds."""
    waiting = made.tasks("queued")
    made.broker.end(number)
    time.sleep(away_s)
    made.broker.start()
    made.say(
        f"{type(made.broker).__name__} ended with {number.name}, away for {away_s:.1f} s; "
        f"queued: {sorted(waiting)}"
    )


def restart_postgres(made: Testbed, away_s: float) -> None:
    """End PostgreSQL without a word to its clients, and start it again after some seconds."""
    at_work = made.tasks("running")
    made.postgres.end(signal.SIGQUIT)
    time.sleep(away_s)
    made.postgres.start()
    made.say(f"PostgreSQL away for {away_s:.1f} s; running: {sorted(at_work)}")


def fill_disk(made: Testbed) -> None:
    """Fill the disk of var/ until a task has failed of it; then make room."""
    ballast = made.cluster.checkout.var / "ballast"
    failed = len(made.tasks("up_for_retry"))
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    try:
        wait_for("a task fails of the full disk", lambda: made.tasks("up_for_retry"))
        made.say(f"disk full; tasks to be tried again: {sorted(made.tasks('up_for_retry'))}")
    finally:
        ballast.unlink()
    assert failed == 0


def hang_tasks(made: Testbed, table: str, until_s: float) -> None:
    """Hold a lock on a table of the results until a task that waits for it has been given up."""
    connection = psycopg2.connect(f"{made.postgres.url}/{RESULTS}")
    try:
        connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = CAST(:name AS regclass)"
        wait_for("a task hangs", lambda: made.ask(RESULTS, query, name=table))
        hangs = made.tasks("running")
        wait_for("it is given up", lambda: hangs - made.tasks("running"), until_s)
        made.say(f"given up, because they hung: {sorted(hangs - made.tasks('running'))}")
    finally:
        connection.close()


def cut(made: Testbed, network: Network, until_s: float) -> None:
    """Pull the cable of the other host while it has tasks, until they are given up."""
    mine = wait_for("the other host has a task", lambda: made.tasks("running"))
    network.plug("down")
    made.say(f"cable pulled; running: {sorted(mine)}")
    wait_for("they are given up", lambda: not (mine & made.tasks("running")), until_s)

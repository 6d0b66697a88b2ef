"""The faults. Each says what it has hit, and fails where it has hit nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg2

from faults.bed import RESULTS, Bed, wait_for
from faults.services import Network
from with_airflow.clusters import kill_family, worker_process


def kill_worker(made: Bed, worker: str) -> int:
    """SIGKILL a worker and all its tasks at once; return how many it had."""
    process = worker_process(made.cluster, worker)
    at_work = made.tasks("running", queue=worker)
    count = kill_family(process)
    made.say(f"worker {worker} killed with {count} tasks of {sorted(at_work)}")
    return count


@contextmanager
def locked(made: Bed, table: str) -> Iterator[None]:
    """Let nobody write to a table of the results."""
    connection = psycopg2.connect(f"{made.postgres.url}/{RESULTS}")
    try:
        connection.cursor().execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


def wait_for_writer(made: Bed, table: str) -> None:
    """Wait until a task waits for its turn to write to a table that is locked."""
    query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = CAST(:name AS regclass)"
    wait_for(f"a task writes to {table}", lambda: made.ask(RESULTS, query, name=table))


def kill_writer(made: Bed, table: str, worker: str) -> None:
    """SIGKILL a worker in the middle of a stage: when a task of it writes to a table."""
    process = worker_process(made.cluster, worker)
    with locked(made, table):
        wait_for_writer(made, table)
        at_work = made.tasks("running", queue=worker)
        count = kill_family(process)
        made.say(f"worker {worker} killed while writing to {table}, with {count} of {at_work}")
    assert count > 0


def end_worker_warmly(made: Bed, worker: str) -> set[tuple[str, int, int]]:
    """SIGTERM: it finishes what it has begun, and is started again.

    Returns tasks that did not finish: those that were lost before are among them.
    """
    process = worker_process(made.cluster, worker)
    at_work = made.tasks("running", queue=worker)
    process.terminate()
    gone, _ = psutil.wait_procs([process], timeout=120)
    assert gone, "a worker that was told to stop goes on"
    lost = at_work & made.tasks("running", queue=worker)
    made.say(f"worker {worker} ended by SIGTERM with {sorted(at_work)}; not ended: {sorted(lost)}")
    return lost


def end_worker_at_work(made: Bed, worker: str) -> None:
    """SIGTERM to a worker that has tasks, which it finishes."""
    wait_for(f"{worker} has a task", lambda: made.tasks("running", queue=worker))
    assert end_worker_warmly(made, worker) == set()


def kill_scheduler(made: Bed) -> None:
    scheduler = next(p for p in made.cluster.processes() if p.cmdline()[-1:] == ["scheduler"])
    scheduler.kill()
    psutil.wait_procs([scheduler], timeout=10)
    made.say(f"scheduler killed; queued {sorted(made.tasks('queued'))}, {made.at_work}")


def restart_broker(made: Bed, number: signal.Signals, away_s: float) -> None:
    """End the broker, and start it again after some seconds."""
    waiting = made.tasks("queued")
    made.broker.end(number)
    time.sleep(away_s)
    made.broker.start()
    made.say(
        f"{type(made.broker).__name__} ended with {number.name}, away for {away_s:.1f} s; "
        f"queued {sorted(waiting)}, {made.at_work}"
    )


def lose_queue(made: Bed) -> None:
    """Kill a broker without memory while a message waits in it that no worker has taken.

    The worker that would take it stands still meanwhile.
    """
    process = worker_process(made.cluster, "pixels")
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.suspend()
    try:
        waiting = wait_for("a task waits", lambda: made.tasks("queued", queue="pixels"))
        time.sleep(2.0)
        restart_broker(made, signal.SIGKILL, away_s=1.0)
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.resume()
    started = time.monotonic()
    wait_for("they are given to the broker again", lambda: made.requeued)
    made.say(f"lost {sorted(waiting)}: noticed after {time.monotonic() - started:.0f} s")


def restart_postgres(made: Bed, away_s: float) -> None:
    """End PostgreSQL without a word to its clients, and start it again after some seconds."""
    at_work = made.at_work
    made.postgres.end(signal.SIGQUIT)
    time.sleep(away_s)
    made.postgres.start()
    made.say(f"PostgreSQL away for {away_s:.1f} s; {at_work}")


def fill_disk(made: Bed, for_s: float) -> None:
    """Fill the disk of var/ for some seconds."""
    at_work = made.at_work
    ballast = made.cluster.checkout.var / "ballast"
    try:
        until = time.monotonic() + for_s
        while time.monotonic() < until:  # What others free is filled, too.
            with ballast.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 12))
            time.sleep(0.2)
    finally:
        ballast.unlink()
    made.say(f"disk of var/ full for {for_s:.0f} s; {at_work}")


def hang_tasks(made: Bed, table: str, until_s: float) -> None:
    """Let nobody write to a table until a task that waits for it has been given up."""
    with locked(made, table):
        wait_for_writer(made, table)
        hangs, started = made.tasks("running"), time.monotonic()
        wait_for("it is given up", lambda: hangs - made.tasks("running"), until_s)
        ended = sorted(hangs - made.tasks("running"))
        made.say(f"given up after {time.monotonic() - started:.0f} s, because they hung: {ended}")


def hold_lock(made: Bed, table: str, for_s: float) -> None:
    """Let nobody write to a table for some seconds."""
    with locked(made, table):
        time.sleep(for_s)
        made.say(f"{table} locked for {for_s:.0f} s; {made.at_work}")


def cut_for(made: Bed, network: Network, for_s: float) -> None:
    """Pull the cable of the other host for some seconds."""
    mine = made.tasks("running", host=network.name)
    network.plug("down")
    time.sleep(for_s)
    network.plug("up")
    made.say(f"cable of {network.name} pulled for {for_s:.0f} s; it had {sorted(mine)}")


def cut(made: Bed, network: Network, until_s: float) -> None:
    """Pull the cable of the other host in the middle of a stage, until its tasks are given up."""
    query = "SELECT 1 FROM stagerun WHERE host = :host AND finished_ts IS NULL"
    with locked(made, "outcome"):
        wait_for("it is in a stage", lambda: made.ask(RESULTS, query, host=network.name))
        wait_for_writer(made, "outcome")
        mine = made.tasks("running", host=network.name)
        network.plug("down")
    started = time.monotonic()
    made.say(f"cable of {network.name} pulled; it had {sorted(mine)}")
    wait_for("they are given up", lambda: not (mine & made.tasks("running")), until_s)
    made.say(f"given up after {time.monotonic() - started:.0f} s")

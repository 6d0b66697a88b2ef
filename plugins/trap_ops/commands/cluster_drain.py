"""``trap-manage cluster drain``: let a cluster come to rest, to upgrade it, and go on later."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from trap_ops.commands.airflow_api import AirflowServer, airflow_server
from trap_ops.commands.cluster_environment import cluster_settings
from trap_ops.errors import ConfigError
from trap_ops.export.wording import count
from trap_ops.store.runs import current_user

# Where Airflow keeps which DAGs were paused for it: any host may end what another has begun.
DRAINED = "trap_drained"
_LOOK_S = 1.0
# A worker that has a task needs this long to say so.
_QUIET_LOOKS = 3


def drain(_arguments: argparse.Namespace) -> int:
    """Pause all DAGs, and wait until no task is at work or on its way to a worker."""
    server = airflow_server(cluster_settings())
    known = server.variable(DRAINED)
    if known is None:
        running = [dag for dag, paused in server.dags().items() if not paused]
        since = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "seconds")
        # First what is to be undone, then what is done.
        kept = {"dags": running, "since": since, "by": current_user()}
        server.keep_variable(DRAINED, kept)
    else:
        running = list(known["dags"])
    for dag in running:
        server.pause(dag, paused=True)
    print(f"Paused: {', '.join(running) or 'nothing, all was paused'}", flush=True)
    try:
        _wait(server)
    except KeyboardInterrupt:
        print("\nno new task begins; `trap-manage cluster undrain` goes on", file=sys.stderr)
        raise
    print("Drained: no task is at work. `trap-manage cluster undrain` goes on")
    return 0


def undrain(_arguments: argparse.Namespace) -> int:
    """Let those DAGs go on that the drain has paused, and no others."""
    server = airflow_server(cluster_settings())
    known = server.variable(DRAINED)
    if known is None:
        msg = "the cluster is not drained; DAGs that somebody has paused go on by Airflow's pages"
        raise ConfigError(msg)
    there = server.dags()
    for dag in known["dags"]:
        # An upgrade may have taken it away.
        if dag in there:
            server.pause(dag, paused=False)
    server.forget_variable(DRAINED)
    print(f"Goes on: {', '.join(known['dags']) or 'nothing, all was paused'}")
    return 0


def _wait(server: AirflowServer) -> None:
    shown, quiet = "", 0
    while quiet < _QUIET_LOOKS:
        at_work, waiting = (server.tasks(state)[0] for state in ("running", "queued"))
        quiet = 0 if at_work or waiting else quiet + 1
        text = f"{count(at_work, 'task')} at work, {waiting} on the way to a worker"
        if text != shown and not quiet:
            print(text, flush=True)
            shown = text
        time.sleep(_LOOK_S)

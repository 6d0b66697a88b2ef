"""A message to people when a run has failed: to a webhook, by e-mail, or both.

Airflow calls it in its DAG processor, once for each run. What cannot be sent is logged there and
holds nothing up for more than some seconds.
"""

from __future__ import annotations

import html
import json
import logging
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from trap_ops.operators.stage_operator import (
    CONFIGURATIONS,
    FAILURE_KEY,
    failed_in_one_process,
    open_store,
)

if TYPE_CHECKING:
    from trap_ops.config.cluster import NotifyConfig

logger = logging.getLogger(__name__)

# For connecting, for each answer, and for all of it.
_SOCKET_S = 5.0
_PATIENCE_S = 12.0
_MAIL_CONNECTION = "smtp_default"


@dataclass(frozen=True)
class Failure:
    """What people are told of a run that has failed.

    Attributes
    ----------
    dag, run, dataset, user, reason : str
    link : str
        Address of its page; empty if nobody knows it.
    """

    dag: str
    run: str
    dataset: str
    user: str
    reason: str
    link: str

    @property
    def subject(self) -> str:
        """One line."""
        what = f"dataset {self.dataset}" if self.dataset else self.dag
        return " ".join(f"TraP: a run on {what} has failed".split())

    @property
    def text(self) -> str:
        """All of it."""
        lines = [self.subject, self.reason, f"run {self.run} of {self.dag}"]
        if self.user:
            lines[-1] += f", started by {self.user}"
        return "\n".join([*lines, *([self.link] if self.link else [])])


def notify_failure(context: Context) -> None:
    """Tell those whom ``[notify]`` of cluster.toml names that a run has failed."""
    run_key = str(context["run_id"])
    if failed_in_one_process(run_key):
        # Somebody sits in front of it.
        return
    try:
        settings, address = _settings()
        if not settings.webhook and not settings.mail_to:
            return
        failure = _failure(context, run_key, address)
    except Exception:
        logger.exception("nobody is told that run %s has failed", run_key)
        return
    _send(failure, settings)


def _settings() -> tuple[NotifyConfig, str]:
    """Whom to tell, and the address of Airflow's pages."""
    from airflow.sdk.configuration import conf

    from trap_ops.config.cluster import CLUSTER_FILE, FILE_VARIABLE, load_cluster

    named = os.environ.get(FILE_VARIABLE)
    path = Path(named).expanduser() if named else CONFIGURATIONS / CLUSTER_FILE
    cluster = load_cluster(path, os.environ)
    return cluster.notify, str(conf.get("api", "base_url", fallback="") or cluster.server.address)


def _failure(context: Context, run_key: str, address: str) -> Failure:
    """What is known of a run: by the results database, else by Airflow."""
    from trap_ops.errors import TrapError
    from trap_ops.store import runs

    dag = context["dag"].dag_id
    known: dict[str, str] = {}
    try:
        with open_store() as store:
            # An SQLite file that is not there would be made by looking into it.
            store.check()
            with store.read() as connection:
                known = runs.failed_run(connection, run_key)
    except TrapError as error:
        logger.warning("the results database cannot say why %s failed: %s", run_key, error)
    params: dict[str, Any] = dict(context.get("params") or {})
    dag_run = context.get("dag_run")
    return Failure(
        dag=dag,
        run=run_key,
        dataset=known.get("dataset") or str(params.get("dataset") or ""),
        user=known.get("user") or str(getattr(dag_run, "triggering_user_name", None) or ""),
        reason=known.get("message") or _reason_of_airflow(context),
        link=f"{address.rstrip('/')}/dags/{dag}/runs/{run_key}" if address else "",
    )


def _reason_of_airflow(context: Context) -> str:
    """Why a run failed that was not planned, or did not fail in a stage."""
    instance = context.get("ti")
    if instance is None:
        return f"Airflow gives as reason: {context.get('reason') or 'none'}"
    try:
        message = instance.xcom_pull(task_ids=instance.task_id, key=FAILURE_KEY)
    except Exception as error:  # noqa: BLE001 - the message goes out without it
        logger.info("task %s has left no message: %r", instance.task_id, error)
        message = None
    return str(message or f"task {instance.task_id} failed; its log says why")


def _send(failure: Failure, settings: NotifyConfig) -> None:
    """Send by all ways at the same time, and wait for some seconds."""
    ways: dict[str, Callable[[Failure, NotifyConfig], None]] = {}
    if settings.webhook:
        ways["the webhook"] = _post
    if settings.mail_to:
        ways["e-mail"] = _mail
    started = []
    for way, function in ways.items():
        # A server may let one wait for ever; a daemon ends with the process.
        thread = threading.Thread(
            target=_tried, args=(way, function, failure, settings), daemon=True
        )
        thread.start()
        started.append((way, thread))
    for way, thread in started:
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            logger.error("run %s: %s has not answered for %.0f s", failure.run, way, _PATIENCE_S)


def _tried(
    way: str,
    function: Callable[[Failure, NotifyConfig], None],
    failure: Failure,
    settings: NotifyConfig,
) -> None:
    try:
        function(failure, settings)
    except urllib.error.HTTPError as error:
        logger.error("run %s: %s answers %s", failure.run, way, error.code)  # noqa: TRY400
    except Exception as error:  # noqa: BLE001 - whatever it is, no run may fail of it
        # Its text may have the address, which is a secret, or a password.
        cause = getattr(error, "reason", error)
        logger.error(  # noqa: TRY400
            "run %s: %s cannot be used (%s)", failure.run, way, type(cause).__name__
        )
    else:
        logger.info("run %s: sent by %s", failure.run, way)


def _post(failure: Failure, settings: NotifyConfig) -> None:
    """As Slack and Mattermost take it; further fields are for programs."""
    body = {"text": failure.text, **vars(failure)}
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
        settings.webhook,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "trap"},
    )
    with urllib.request.urlopen(request, timeout=_SOCKET_S):  # noqa: S310
        pass


def _mail(failure: Failure, settings: NotifyConfig) -> None:
    """By the server of Airflow's connection ``smtp_default``."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    body = "<br>\n".join(html.escape(line) for line in failure.text.splitlines())
    with SmtpHook(smtp_conn_id=_MAIL_CONNECTION) as hook:
        hook.send_email_smtp(
            to=list(settings.mail_to),
            subject=failure.subject,
            html_content=body,
            from_email=settings.mail_from or f"trap@{socket.getfqdn()}",
        )

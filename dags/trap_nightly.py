"""Every night: new images of the folders in schedules.toml go to runs of trap_batch."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from trap_ops.operators.failure_notice import notify_failure
from trap_ops.operators.find_arrivals import (
    BATCH_DAG,
    CheckFoldersOperator,
    FindArrivalsOperator,
)
from trap_ops.operators.time_limit import task_arguments

CONFIGURATIONS = Path(__file__).resolve().parents[1] / "include" / "configs"
SCHEDULES = Path(os.environ.get("TRAP_SCHEDULES") or CONFIGURATIONS / "schedules.toml")
# Read without the rest of the pipeline, which would take a second each time this file is parsed.
AT = tomllib.loads(SCHEDULES.read_text("utf-8")).get("nightly", {}).get("at", "0 6 * * *")

DOC = """
# Every night, what is new

`find_arrivals` looks into the folders that `include/configs/schedules.toml` names with
`when = "night"`, and gives the images that no run has had to runs of `trap_batch`, one for each
dataset; `process` waits for these. A night that was missed needs nothing: the next one finds its
images too. With nothing new, nothing is run.

**find_arrivals is red?** Its log says what is wrong with schedules.toml or the database.
**process is red?** The run of `trap_batch` that it has triggered has failed; its own red task says
why. The images go to another run the next night. **check_folders is red?** A folder cannot be read;
those of other series were taken all the same.
"""

with DAG(
    "trap_nightly",
    description="New images of the night go to trap_batch",
    schedule=AT,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=DOC,
    on_failure_callback=notify_failure,
    tags=["trap"],
    default_args={
        "queue": "database",
        **task_arguments(),
    },
) as dag:
    find = FindArrivalsOperator(task_id="find_arrivals", when="night", name="nightly")
    check = CheckFoldersOperator(
        task_id="check_folders",
        problems="{{ ti.xcom_pull(task_ids='find_arrivals', key='problems') or '' }}",
        retries=0,
    )
    process = TriggerDagRunOperator.partial(
        task_id="process",
        trigger_dag_id=BATCH_DAG,
        logical_date=None,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=10,
        skip_when_already_exists=True,
        retries=0,
    ).expand_kwargs(find.output)
    find >> check

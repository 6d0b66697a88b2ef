"""As soon as images come: those of the folders in schedules.toml go to runs of trap_batch."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetWatcher

from trap_ops.operators.failure_notice import notify_failure
from trap_ops.operators.find_arrivals import (
    BATCH_DAG,
    CheckFoldersOperator,
    FindArrivalsOperator,
)
from trap_ops.operators.time_limit import task_arguments
from trap_ops.triggers.arrivals import ArrivalTrigger

DOC = """
# As soon as images come

Airflow's triggerer looks into the folders that `include/configs/schedules.toml` names with
`when = "arrival"`, every second. When files are complete (unchanged for `settle_s`) and no run has
their dataset, this DAG is run: `find_arrivals` gives them to runs of `trap_batch`, one for each
dataset. Images that come while a run goes on wait, and are one batch for the next: the more there
are, the larger the batches (`images_per_run` at most), the less each costs.

A run that fails gives its images to another one: after a minute, then after two, and so on up to
six hours. **check_folders is red?** A folder cannot be read; those of other series were taken all
the same. `bin/trap-manage arrivals` shows what waits, and why.
"""

with DAG(
    "trap_watch",
    description="Images go to trap_batch as soon as they come",
    schedule=[
        Asset(
            name="trap_arrivals",
            uri="trap://arrivals",
            watchers=[AssetWatcher(name="trap_arrivals", trigger=ArrivalTrigger())],
        )
    ],
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
    find = FindArrivalsOperator(task_id="find_arrivals", when="arrival", name="watch")
    check = CheckFoldersOperator(
        task_id="check_folders",
        problems="{{ ti.xcom_pull(task_ids='find_arrivals', key='problems') or '' }}",
        retries=0,
    )
    process = TriggerDagRunOperator.partial(
        task_id="process",
        trigger_dag_id=BATCH_DAG,
        logical_date=None,
        skip_when_already_exists=True,
    ).expand_kwargs(find.output)
    find >> check

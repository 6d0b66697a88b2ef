"""Every day: check the results, keep the database quick, delete what is old, free datasets."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pendulum
from airflow.sdk import DAG

from trap_ops.operators.failure_notice import notify_failure
from trap_ops.operators.maintenance import (
    CheckResultsOperator,
    FreeDatasetsOperator,
    RemoveOldFilesOperator,
    TidyResultsOperator,
)
from trap_ops.operators.time_limit import task_arguments

CONFIGURATIONS = Path(__file__).resolve().parents[1] / "include" / "configs"
SCHEDULES = Path(os.environ.get("TRAP_SCHEDULES") or CONFIGURATIONS / "schedules.toml")
# Read without the rest of the pipeline, which would take a second each time this file is parsed.
AT = tomllib.loads(SCHEDULES.read_text("utf-8")).get("maintenance", {}).get("at", "0 12 * * *")

DOC = """
# Every day

`check_results`: every rule that the tables keep, as `bin/trap-manage check`; **red** if a dataset
breaks one. `tidy_results`: vacuums and analyses tables that have changed much. `remove_old_files`:
logs and reports that are older than schedules.toml says, and what killed runs have downloaded.
`free_datasets`: a run that ended without a word is marked as failed; one that failed long ago gives
its dataset up.
"""

with DAG(
    "trap_maintenance",
    description="Check, tidy, delete what is old",
    schedule=AT,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=DOC,
    on_failure_callback=notify_failure,
    tags=["trap"],
    default_args={"queue": "database", **task_arguments()},
) as dag:
    free = FreeDatasetsOperator(task_id="free_datasets")
    check = CheckResultsOperator(task_id="check_results")
    tidy = TidyResultsOperator(task_id="tidy_results")
    RemoveOldFilesOperator(task_id="remove_old_files")
    free >> check >> tidy

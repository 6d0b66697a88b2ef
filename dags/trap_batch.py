"""The whole pipeline on a series of images: trigger it by hand, from a schedule or in a test."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, Param, TriggerRule

from trap_ops.operators.associate import AssociateOperator
from trap_ops.operators.extract_sources import ExtractSourcesOperator
from trap_ops.operators.failure_notice import notify_failure
from trap_ops.operators.find_candidates import FindCandidatesOperator
from trap_ops.operators.fit_forced import FitForcedOperator
from trap_ops.operators.judge_quality import JudgeQualityOperator
from trap_ops.operators.measure_quality import MeasureQualityOperator
from trap_ops.operators.measure_variability import MeasureVariabilityOperator
from trap_ops.operators.publish import PublishOperator
from trap_ops.operators.register_images import RegisterImagesOperator
from trap_ops.operators.time_limit import task_arguments

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = sorted(
    path.stem
    for path in (CHECKOUT / "include" / "configs").glob("*.toml")
    if path.stem not in {"cluster", "schedules"}
)

# Queues of the CeleryExecutor: work on pixels, which takes cores and memory, and all else. Other
# executors know no queues.
PIXELS, DATABASE = "pixels", "database"

DOC = """
# From images to transient candidates

`register_images` → `measure_quality` → `judge_quality` → `extract_sources` → `associate` →
`fit_forced` → `measure_variability` → `find_candidates` → `publish`

Give **images** (files, directories, globs, or addresses like `s3://bucket/night1/`) and the name of
a **dataset**; everything else has a default. A dataset that exists is continued: images that it has
are not read again, new ones are added, and running twice changes nothing. The report's path is in
the log of `publish`.

**A task is red?** Its log ends with one sentence that says what happened and what to do. Every
task can be cleared and run again at any time: finished work is recognised and not repeated. What
can pass by itself (the database is away or busy, the disk is full, a worker was killed) is retried
with growing delays. A bad image never
turns a task red: it is listed with its reason in the run report.

**Try one task alone:** `bin/airflow tasks test trap_batch TASK RUN_ID [--map-index N]`, or, with a
true exit status and a debugger, `bin/trap-manage debug TASK RUN_ID [--map-index N] [--pdb]`.
"""

RED = {
    "register_images": """
**Red?** The log names the parameter or setting to change: all problems of the configuration come
in one message, with the nearest valid names. *"dataset is in use by run ..."*: another run has it,
and the message says whether it runs or has failed. Wait for a running one; give a failed one up
with `bin/trap-manage abandon RUN_ID`, or run its failed task again. Files that are no usable
images do not turn this task red; they are listed in the report.
""",
    "measure_quality": """
**Red?** Not because of an image: one that cannot be read is rejected with the reason. Look for a
database that is away, or a worker that does not see the files; then clear the task.
""",
    "judge_quality": """
**Red?** The database is away, or the code differs from the run's plan. Verdicts on images are in
the report and in table `rejection`; they never turn this task red.
""",
    "extract_sources": """
**Red?** Out of memory (an image needs about three times its size in float32 and 180 MB) or a fault
in the finder: `bin/trap-manage debug extract_sources RUN_ID --map-index N --pdb` stops where it
happens. Batches that are green need not run again.
""",
    "associate": """
**Red?** Nothing of the time steps in question was written: each block of them is one transaction.
Clear the task to go on from the last block that was stored.
""",
    "fit_forced": """
**Red?** As extract_sources. A position that cannot be measured, or an image whose file has gone,
does not turn this task red: the reason stands in table `forcedfit`.
""",
    "measure_variability": """
**Red?** The database is away. Points that are not in the statistics yet are marked `pending`, so
the task goes on where it stopped.
""",
    "find_candidates": """
**Red?** The database is away. The list of candidates is replaced as a whole or not at all.
""",
    "publish": """
**Red?** The directory for reports cannot be written (TRAP_VAR, default var/), or the disk is full.
The results are complete in the database; clear this task when there is room.
""",
}

with DAG(
    "trap_batch",
    description="Radio images in, light curves and transient candidates out",
    schedule=None,
    catchup=False,
    doc_md=DOC,
    tags=["trap"],
    on_failure_callback=notify_failure,
    default_args={
        "queue": DATABASE,
        **task_arguments(),
    },
    params={
        "images": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Images",
            description_md="Absolute paths of image files or directories, globs "
            "(`/data/night1/*.fits`), or addresses (`s3://bucket/night1/`, "
            "`https://host/image.fits`), one a line. No passwords in them: what is written here is "
            "kept and shown; those belong into the connection `trap_images`.",
        ),
        "dataset": Param(
            "",
            type="string",
            maxLength=100,
            title="Dataset",
            description_md="Name of the series. One that exists is continued.",
        ),
        "configuration": Param(
            "auto",
            type="string",
            enum=["auto", *CONFIGURATIONS],
            title="Configuration",
            description_md="A file in `include/configs`; `auto` takes the one for the images' "
            "telescope.",
        ),
        "overrides": Param(
            {},
            type="object",
            title="Settings for this run",
            description_md="Differences from the configuration, e.g. "
            '`{"extraction": {"detection_threshold_sigma": 5}}`.',
            section="Advanced",
        ),
        "monitor": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Monitoring positions",
            description_md="Measured in every image, one a line: right ascension, declination and, "
            "if you like, a name: `123.4 -20.1 my source` (degrees) or `08:13:36 -20:06:00`. "
            "Images that the dataset has already are measured too.",
            section="Advanced",
        ),
        "withdraw": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Images to withdraw",
            description_md="Images to take out of the dataset, by path or base name, one a line; "
            "the results are then those of a run that never had them. Leave *Images* empty.",
            section="Advanced",
        ),
        "remove_monitors": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Monitoring positions to remove",
            description_md="By name, id or position, one a line, with all that was measured there. "
            "Leave *Images* empty.",
            section="Advanced",
        ),
    },
) as dag:
    # Behind a mapped task nothing may be skipped just because there was nothing to map.
    after_mapped = TriggerRule.NONE_FAILED

    register = RegisterImagesOperator(task_id="register_images", doc_md=RED["register_images"])
    measure = MeasureQualityOperator.partial(
        task_id="measure_quality",
        doc_md=RED["measure_quality"],
        queue=PIXELS,
        map_index_template="{{ batch_name }}",
    ).expand(image_ids=register.output)
    judge = JudgeQualityOperator(
        task_id="judge_quality", doc_md=RED["judge_quality"], trigger_rule=after_mapped
    )
    extract = ExtractSourcesOperator.partial(
        task_id="extract_sources",
        doc_md=RED["extract_sources"],
        queue=PIXELS,
        map_index_template="{{ batch_name }}",
    ).expand(image_ids=judge.output)
    associate = AssociateOperator(
        task_id="associate", doc_md=RED["associate"], trigger_rule=after_mapped
    )
    fit = FitForcedOperator.partial(
        task_id="fit_forced",
        doc_md=RED["fit_forced"],
        queue=PIXELS,
        map_index_template="{{ batch_name }}",
    ).expand(image_ids=associate.output)
    variability = MeasureVariabilityOperator(
        task_id="measure_variability",
        doc_md=RED["measure_variability"],
        trigger_rule=after_mapped,
    )
    candidates = FindCandidatesOperator(task_id="find_candidates", doc_md=RED["find_candidates"])
    publish = PublishOperator(task_id="publish", doc_md=RED["publish"])

    measure >> judge
    extract >> associate
    fit >> variability >> candidates >> publish

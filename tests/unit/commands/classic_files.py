"""Files of classic TraP as its releases had them."""

from __future__ import annotations

from pathlib import Path

# Release 6, all keys with the defaults of its template.
JOB_PARAMS = """[persistence]
description = "TRAP dataset"
dataset_id = -1
rms_est_sigma = 4
; Sigma value used for iterative clipping in RMS estimation
rms_est_fraction = 8
; Determines size of image subsection used for RMS estimation
bandwidth_max = 0.0

[quality]
rms_est_history = 100
rms_est_max = 100
rms_est_min = 0.0
rms_rej_sigma = 3
oversampled_x = 30
elliptical_x = 2.0

[quality_lofar]
low_bound = 1
high_bound = 80
min_separation = 10

[source_extraction]
detection_threshold = 8
analysis_threshold = 3
back_size_x = 50
back_size_y = 50
margin = 10
deblend_nthresh = 0
extraction_radius_pix = 250
force_beam = True
box_in_beampix = 10
ew_sys_err = 10
ns_sys_err = 10
expiration = 10

[association]
deruiter_radius = 5.68
beamwidths_limit =  3.0

[transient_search]
new_source_sigma_margin = 1

[pipeline]
mode = 'batch'
hosts = ',,,,,'
ports = '6666,6667,6668,6669,6670,6671'
"""
# Release 2: other places and names, comments behind the values.
OLD_JOB_PARAMS = """[persistence]
description = "Night 1; the first"  ; name in the database
dataset_id = -1
sigma = 5            ; Sigma value used for iterative clipping
f = 4                ; size of the part of the image
rms_est_max = 0.5
[quality_lofar]
oversampled_x = 20   ; threshold for oversampled check
elliptical_x = 1.5
[source_extraction]
back_size_x = 50
back_size_y = 32
force_beam = False
expiration = 0
"""
PIPELINE = """[DEFAULT]
runtime_directory = %(cwd)s
job_directory = %(runtime_directory)s/%(job_name)s
[logging]
log_dir = %(job_directory)s/logs/%(start_time)s
debug = False
colorlog = True
[database]
engine = postgresql ;(monetdb or postgresql)
database = "lofar night"
user = "gijs" ; <----- in quotes
password = "s3cr%t" ; <----- in quotes
host = "db.example.org"
port =
dump_backup_copy = False
[image_cache]
copy_images = True
[parallelise]
method = "multiproc"  ; or serial
cores = 0
"""
CELERY = """# TraP Celery Configuration
CELERY_ALWAYS_EAGER = CELERY_EAGER_PROPAGATES_EXCEPTIONS = True
CELERYD_FORCE_EXECV = True
BROKER_URL = CELERY_RESULT_BACKEND = 'amqp://gijs:s3cr%t@rabbit.example.org:5672/trap'
CELERY_IMPORTS = ("tkp.distribute.celery.tasks", )
"""
IMAGES = """import os
import glob
images = sorted(
    glob.glob(
        os.path.expanduser("/home/example/data/*.fits")
    )
)
#Just for show:
print "******** IMAGES: ********"
for f in images:
    print f
print "*************************"
"""


def write_project(folder: Path, **files: str) -> Path:
    """Write a project with a job and return the job's folder; words replace the files above."""
    texts = {
        "night1/job_params.cfg": files.get("job", JOB_PARAMS),
        "night1/images_to_process.py": files.get("images", IMAGES),
        "pipeline.cfg": files.get("pipeline", PIPELINE),
        "celeryconfig.py": files.get("celery", CELERY),
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "night1"

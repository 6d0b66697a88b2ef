"""Credentials of remote images are those of the Airflow connection."""

from __future__ import annotations

import json

from with_airflow.conftest import Checkout, python

CODE = """
import json, os, sys
sys.path.append(os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"])
from trap_ops.commands.environment import image_access as of_environment
from trap_ops.operators.stage_operator import image_access
without = image_access()
os.environ["AIRFLOW_CONN_TRAP_IMAGES"] = json.dumps({
    "conn_type": "aws", "login": "me", "password": "a/b+c",
    "extra": {"endpoint_url": "http://s3.example.org:9000"},
})
made = image_access()
print(json.dumps({
    "without": without.options == {} and without.scratch_dir == made.scratch_dir,
    "same": made == of_environment(), "options": made.options, "shown": repr(made),
}))
"""


def test_airflow_and_the_environment_say_the_same(checkout: Checkout) -> None:
    made = python(CODE, checkout)
    assert made["without"]
    assert made["same"]
    assert made["options"]["s3"]["secret"] == "a/b+c"  # noqa: S105 - of nobody
    assert "a/b+c" not in json.dumps(made["shown"])

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

BROKEN = """
import json, os, sys
sys.path.append(os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"])
from trap_ops.operators.stage_operator import image_access
refused = {}
for text in ('{"conn_type": ', "aws://me:geheim@host:port/", '["geheim"]', "geheim",
             '{"conn_type": "aws", "login": "me", "password": "geheim", "extra": "{geheim"}'):
    os.environ["AIRFLOW_CONN_TRAP_IMAGES"] = text
    try:
        refused[text] = repr(image_access())
    except Exception as error:
        refused[text] = f"{type(error).__name__}: {error}"
print(json.dumps(refused))
"""


def test_airflow_and_the_environment_say_the_same(checkout: Checkout) -> None:
    made = python(CODE, checkout)
    assert made["without"]
    assert made["same"]
    assert made["options"]["s3"]["secret"] == "a/b+c"  # noqa: S105 - of nobody
    assert "a/b+c" not in json.dumps(made["shown"])


def test_a_connection_that_cannot_be_read_is_not_taken_for_none(checkout: Checkout) -> None:
    refused = python(BROKEN, checkout)
    assert len(refused) == 5
    for text, words in refused.items():
        assert words.startswith("ConfigError: "), (text, words)
        assert "geheim" not in words

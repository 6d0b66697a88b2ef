"""Settings of the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from trap_ops.config.cluster import load_cluster
from trap_ops.config.load import configuration_names
from trap_ops.errors import ConfigError

FILES = Path(__file__).resolve().parents[3] / "include" / "configs"
TEXT = (FILES / "cluster.toml").read_text(encoding="utf-8")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_that_comes_with_it_is_of_one_machine() -> None:
    cluster = load_cluster(FILES / "cluster.toml", {})
    assert cluster.broker.url == "amqp://guest:guest@127.0.0.1:5672//"
    assert "127.0.0.1" in cluster.database.url
    assert {queue for worker in cluster.workers for queue in worker.queues} == {
        "pixels", "database", "default"
    }  # fmt: skip


def test_it_is_no_configuration_of_a_run() -> None:
    assert "default" in configuration_names(FILES)
    assert "cluster" not in configuration_names(FILES)


def test_the_environment_comes_before_the_file() -> None:
    environ = {
        "TRAP_BROKER": "redis://:secret@broker:6379/3",
        "TRAP_AIRFLOW_DB": "postgresql://me:secret@dbhost/other",
    }
    cluster = load_cluster(FILES / "cluster.toml", environ)
    assert cluster.broker.url == environ["TRAP_BROKER"]
    assert cluster.database.url == environ["TRAP_AIRFLOW_DB"]


def test_all_problems_come_together_and_name_no_password(tmp_path: Path) -> None:
    text = TEXT.replace("port = 8080", 'port = 80800\nprot = "x"').replace(
        "concurrency = 2", "concurrency = 0", 1
    )
    with pytest.raises(ConfigError) as caught:
        load_cluster(written(tmp_path, text), {"TRAP_BROKER": "http://me:secret@host"})
    said = caught.value.message
    for part in (
        "TRAP_BROKER: broker.url: is not of the form that is wanted",
        "mine.toml: server.port: input should be less than or equal to 65535",
        "mine.toml: server.prot: is not a setting",
        "mine.toml: workers.0.concurrency: input should be greater than or equal to 1",
    ):
        assert part in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace('name = "database"', 'name = "pixels"'), "names of their own"),
        (TEXT.replace('name = "database"', 'name = "data base"'), "workers.1.name"),
        (TEXT.replace('queues = ["pixels"]', "queues = []"), "workers.0.queues"),
        (TEXT.split("[[workers]]")[0], "workers: field required"),
        ("[broker", "is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml") as caught:
        load_cluster(written(tmp_path, text), {})
    assert said in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml is missing"):
        load_cluster(tmp_path / "gone.toml", {})


def test_whom_to_tell_may_be_said_by_the_environment() -> None:
    hook = "https://hooks.example.org/services/T0/secret"
    assert load_cluster(FILES / "cluster.toml", {"TRAP_WEBHOOK": hook}).notify.webhook == hook
    with pytest.raises(ConfigError, match=r"TRAP_WEBHOOK: notify\.webhook") as caught:
        load_cluster(FILES / "cluster.toml", {"TRAP_WEBHOOK": "hooks/secret"})
    assert "secret" not in caught.value.message


def test_addresses_of_people_are_looked_at(tmp_path: Path) -> None:
    text = TEXT.replace("mail_to = []", 'mail_to = ["me@x.org", "me"]')
    with pytest.raises(ConfigError, match=r"notify\.mail_to\.1"):
        load_cluster(written(tmp_path, text), {})

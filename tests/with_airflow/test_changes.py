"""Monitoring positions and images come and go by command, through the DAG."""

from __future__ import annotations

import re
from pathlib import Path

from trap_ops import local
from trap_ops.records.runs import MonitorPosition
from with_airflow.conftest import SMALL, Checkout

CENTRE = MonitorPosition(123.0, 35.0, "the centre, of all")
# So many that their text is longer than a word of a command may be.
MANY = [MonitorPosition(200.0 + n / 100.0, -30.0, f"one of very many: {n:04}") for n in range(2200)]


def clean(
    checkout: Checkout, images: list[Path], monitor: list[MonitorPosition], directory: Path
) -> str:
    """Checksum of one run of the stages alone."""
    directory.mkdir()
    url = f"sqlite:///{directory / 'local.db'}"
    local.run(images, "d", store_url=url, overrides=SMALL, monitor=monitor, output_dir=directory)
    return checkout.run("trap-manage", "checksum", "d", environment={"TRAP_DB": url}).stdout


def test_a_dataset_is_changed_by_commands(
    checkout: Checkout, images: list[Path], tmp_path: Path
) -> None:
    def trap(*words: str, status: int = 0) -> str:
        made = checkout.run("trap-manage", *words)
        assert made.returncode == status, made.stdout + made.stderr
        return made.stdout + made.stderr

    settings = [
        f"--set={section}.{key}={value}"
        for section, values in SMALL.items()
        for key, value in values.items()
    ]
    trap("run", *map(str, images[:4]), "--dataset", "changed", *settings)
    listed = tmp_path / "positions.csv"
    lines = [f'{p.ra_deg!r},{p.dec_deg!r},"{p.name}"\n' for p in (CENTRE, *MANY)]
    listed.write_text("ra,dec,name\n" + "".join(lines))
    said = trap("monitor", "add", "changed", str(listed))
    assert "2201 positions to add" in said
    assert re.search(r"^  fit_forced  .*4 fits", said, re.MULTILINE), said
    assert "the centre, of all" in trap("monitor", "list", "changed")
    # No new images: appending is a run.
    trap("run", str(images[4]), "--dataset", "changed", *settings)
    expected = clean(checkout, images, [CENTRE, *MANY], tmp_path / "whole")
    assert trap("checksum", "changed") == expected
    refused = trap("withdraw", "changed", images[1].name, status=1)
    assert f"{images[1].name}: accepted" in refused
    assert "say --yes" in refused
    said = trap("withdraw", "changed", images[1].name, str(images[4]), "--yes")
    assert "3 images accepted" in said
    trap("monitor", "remove", "changed", *(p.name for p in MANY[1:]), "--yes")
    stay = [images[0], *images[2:4]]
    expected = clean(checkout, stay, [CENTRE, MANY[0]], tmp_path / "rest")
    assert trap("checksum", "changed") == expected
    assert trap("datasets", "changed").count("finished") == 5

"""``trap-manage lightcurve`` as it is typed, on a night with points of every kind."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest
from astropy.io.votable import parse, validate
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from PIL import Image, ImageColor
from sqlalchemy import select, text

from trap_ops.commands.__main__ import main
from trap_ops.export.source_curves import _COLUMNS
from trap_ops.science.coordinates import unit_vectors
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.schema import assocxtrsource, forcedfit, runningcatalog, varmetric
from trap_ops.store.sky_source_search import SkySource, all_of, near


@pytest.fixture
def sources(night: Store, monkeypatch: pytest.MonkeyPatch) -> list[SkySource]:
    """Sky sources of dataset ``night``; the verb reads the same database."""
    monkeypatch.setenv("TRAP_DB", night.url.render_as_string())
    with night.read() as connection:
        return all_of(connection, dataset_id(connection, "night"))


def richest(store: Store, sources: list[SkySource]) -> SkySource:
    """A source with blind, forward and backward points, and images without one."""
    with store.read() as connection:
        known = {
            (row.source, row.kind)
            for row in connection.execute(
                text(
                    "SELECT a.runcat AS source, e.extract_type AS kind FROM assocxtrsource a JOIN "
                    "extractedsource e ON e.id = a.xtrsrc UNION SELECT runcat, -1 FROM forcedfit "
                    "WHERE status = 'failed'"
                )
            )
        }
    (chosen, *_) = (
        item for item in sources if all((item.id, kind) in known for kind in (0, 1, 3, -1))
    )
    return chosen


def test_a_source_in_words(
    night: Store, sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    source = richest(night, sources)
    assert main(["lightcurve", source.name, "--dataset", "night"]) == 0
    printed = capsys.readouterr().out
    with night.read() as connection:
        points = select(assocxtrsource).where(assocxtrsource.c.runcat == source.id)
        n_points = len(connection.execute(points).all())
        without = select(forcedfit).where(forcedfit.c.runcat == source.id, forcedfit.c.reason != "")
        n_gaps = len(connection.execute(without).all())
        row = connection.execute(select(varmetric).where(varmetric.c.runcat == source.id)).one()
    lines = printed.splitlines()
    assert lines[0] == f"{source.name} (id {source.id}) in dataset night"
    assert sum(".fits" in line and " I  " in line for line in lines) == n_points + n_gaps
    assert sum("not measured: " in line for line in lines) == n_gaps > 0
    for word in ("blind", "forward", "backward", "left out", "included", "MHz"):
        assert word in printed
    assert f"{row.all_eta_int:.3g}"[:4] in printed.replace("\N{MINUS SIGN}", "-")
    assert "upper limit" in printed


def test_forks_say_where_they_come_from(
    sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    fork = next(item for item in sources if item.parent is not None)
    others = [item.name for item in sources if item.parent == fork.parent and item != fork]
    assert main(["lightcurve", str(fork.id)]) == 0
    printed = capsys.readouterr().out
    assert f"forked on {fork.founded:%Y-%m-%d %H:%M:%S} from the source first seen on" in printed
    assert f"other branches: {', '.join(others) or 'none is left'}" in printed


def test_new_sources_say_why(
    night: Store, sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    with night.read() as connection:
        new = connection.execute(text("SELECT min(runcat) FROM newsource")).scalar()
    assert main(["lightcurve", str(new)]) == 0
    printed = capsys.readouterr().out
    assert "likely new: first seen at" in printed or "possibly new: first seen at" in printed
    assert "its rms there is" in printed


def test_the_nearest_source_to_a_position(
    sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    source = sources[0]
    place = f"{source.ra_deg:.6f} {source.dec_deg + 5.0 / 3600.0:.6f}"
    assert main(["lightcurve", place, "--dataset", "night", "--radius", "6"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{source.name} ")
    assert "arcsec from the position asked for" in printed
    assert main(["lightcurve", place, "--dataset", "night", "--radius", "4"]) == 1
    said = capsys.readouterr().err
    assert "is within 4 arcsec" in said
    assert re.search(rf"the nearest is {re.escape(source.name)}, (5|4.99\d*|5.00\d*) arcsec", said)
    assert "away, in dataset night" in said


def test_positions_across_ra_0_and_at_a_pole(night: Store, sources: list[SkySource]) -> None:
    with night.write() as connection:
        places = ((0.0001, 10.0), (359.9999, 10.0), (123.0, 89.99999), (303.0, 89.99999))
        for source, (ra, dec) in zip(sources, places, strict=False):
            x, y, z = unit_vectors(ra, dec).tolist()
            connection.execute(
                runningcatalog.update()
                .where(runningcatalog.c.id == source.id)
                .values(wm_ra=ra, wm_decl=dec, x=x, y=y, z=z)
            )
    with night.read() as connection:
        found = near(connection, 0.0, 10.0, 1.0 / 3600.0)
        pole = near(connection, 0.0, 90.0, 1.0 / 3600.0)
    assert {item.id for item in found} == {sources[0].id, sources[1].id}
    assert [item.distance_arcsec for item in found] == pytest.approx([0.3545] * 2, rel=1e-3)
    assert {item.id for item in pole} == {sources[2].id, sources[3].id}


def test_names_of_several_datasets_are_told_apart(
    night: Store, sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lightcurve", "in most"]) == 1
    said = capsys.readouterr().err
    assert "stands for several sources; give --dataset, or the id" in said
    assert "in dataset night" in said
    assert "in dataset other" in said
    assert main(["lightcurve", "in most", "--dataset", "other"]) == 0
    assert "monitored position in most" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["J999"], "there is no sky source 'J999' in any dataset"),
        (["J999", "--dataset", "night"], "there is no sky source 'J999' in this dataset"),
        (["far away"], "monitored position 'far away' of dataset 'night' has no measurement"),
        (["10 91"], "is not on the sky"),
        (["99999999"], "there is no sky source '99999999'"),
        ([], "name one or more sources, or give --all"),
        (["--all"], "--all needs --dataset NAME"),
        (["--all", "--dataset", "night"], "give --csv FILE or --votable FILE"),
        (["in most", "west", "--plot", "a.svg"], "--plot draws one source"),
        (["in most", "--plot", "a.pdf"], "name a file that ends in .svg or .png"),
        (["in most", "--dataset", "nix"], "there is no dataset 'nix'; there are: night, other"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_what_cannot_be_answered(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lightcurve", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_source_that_was_split_names_its_branches(
    sources: list[SkySource], capsys: pytest.CaptureFixture[str]
) -> None:
    fork = next(item for item in sources if item.parent is not None)
    assert main(["lightcurve", str(fork.parent)]) == 1
    said = capsys.readouterr().err
    assert f"sky source {fork.parent} was split, and is gone; its branches are" in said
    assert fork.name in said


def test_tables_hold_every_point(
    night: Store, sources: list[SkySource], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "all.csv", tmp_path / "new" / "all.xml"]
    words = ["--csv", str(files[0]), "--votable", str(files[1])]
    assert main(["lightcurve", "--all", "--dataset", "night", *words]) == 0
    assert f"{len(sources)} light curves" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(files[0].read_text())))
    with night.read() as connection:
        number = dataset_id(connection, "night")
        fluxes = connection.execute(
            text(
                "SELECT e.f_int FROM assocxtrsource a JOIN runningcatalog r ON r.id = a.runcat "
                "JOIN extractedsource e ON e.id = a.xtrsrc WHERE r.dataset = :number"
            ),
            {"number": number},
        ).scalars()
        stored = sorted(fluxes)
        gaps = connection.execute(
            text(
                "SELECT count(*) FROM forcedfit f LEFT JOIN monitor m ON m.id = f.monitor WHERE "
                "f.dataset = :number AND f.reason != '' AND coalesce(f.runcat, m.runcat) IS NOT "
                "NULL"
            ),
            {"number": number},
        ).scalar_one()
    assert sorted(float(row["f_int"]) for row in rows if row["f_int"] != "nan") == stored
    assert sum(bool(row["not_measured"]) for row in rows) == gaps > 0
    assert {row["kind"] for row in rows} == {"blind", "forward", "backward", "monitored"}
    assert list(dict.fromkeys(row["source_name"] for row in rows)) == [s.name for s in sources]
    table = Table.read(files[1])
    assert len(table) == len(rows)
    assert str(table["f_peak"].unit) == "Jy / beam"
    assert np.allclose(table["time"], [float(row["time"]) for row in rows], rtol=0, atol=1e-9)
    first = rows[0]
    days = np.datetime64(first["start"]) - np.datetime64("1858-11-17")
    middle = days / np.timedelta64(1, "D") + float(first["exposure"]) / 2.0 / 86400.0
    assert float(first["time"]) == pytest.approx(middle, abs=1e-9)


def test_the_votable_says_what_its_columns_are(sources: list[SkySource], tmp_path: Path) -> None:
    path = tmp_path / "one.xml"
    assert main(["lightcurve", str(sources[0].id), "--votable", str(path)]) == 0
    file = parse(path, verify="exception")
    assert "found no violations" in validate(path, output=None)
    (times,) = file.resources[0].time_systems
    assert (times.timescale, times.timeorigin) == ("UTC", 2400000.5)
    fields = {field.name: field for field in file.get_first_table().fields}
    assert fields["time"].ref == times.ID
    assert fields["ra"].ref == file.resources[0].coordinate_systems[0].ID
    for _, _, ucd, meaning in _COLUMNS:
        assert check_ucd(ucd, check_controlled_vocabulary=True), ucd
        assert meaning


def test_a_plot_is_a_file_of_its_own(
    night: Store, sources: list[SkySource], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = richest(night, sources)
    path = tmp_path / "curve.svg"
    assert main(["lightcurve", str(source.id), "--plot", str(path)]) == 0
    assert "blind detection" in capsys.readouterr().out
    root = minidom.parse(str(path)).documentElement  # noqa: S318 - our own file
    assert root.getAttribute("xmlns") == "http://www.w3.org/2000/svg"
    classes = {
        element.getAttribute("class").split(" ")[0]
        for name in ("g", "path", "text")
        for element in root.getElementsByTagName(name)
    }
    assert {"blind", "forward", "backward", "gap", "limit", "bar", "unit"} <= classes
    (style,) = root.getElementsByTagName("style")
    used = {name for name in classes if name and name not in {"key", "tick"}}
    assert all(f".{name}" in style.firstChild.data for name in used)
    assert root.getElementsByTagName("title")[0].firstChild.data == f"{source.name} (night)"
    view = root.getAttribute("viewBox").split()
    (inner,) = root.getElementsByTagName("svg")
    assert float(view[3]) == float(inner.getAttribute("y")) + float(inner.getAttribute("height"))


def test_a_png_is_the_same_drawing(
    night: Store, sources: list[SkySource], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = richest(night, sources)
    for name in ("curve.svg", "curve.PNG"):
        assert main(["lightcurve", str(source.id), "--plot", str(tmp_path / name)]) == 0
    capsys.readouterr()
    root = minidom.parse(str(tmp_path / "curve.svg")).documentElement  # noqa: S318 - our own file
    size = [float(side) for side in root.getAttribute("viewBox").split()[2:]]
    with Image.open(tmp_path / "curve.PNG") as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple(round(3.0 * side) for side in size)
        pixels = np.asarray(picture.convert("RGB")).reshape(picture.height, picture.width, 3)
    assert (pixels[0, 0] == 255).all()
    # Filled points of each kind, as the legend and the curve have them, and the title's letters.
    for colour, rows in (
        ("#0b5cad", slice(None)),
        ("#8a4fae", slice(None)),
        ("#1b1f24", slice(78)),
    ):
        drawn = (pixels[rows] == ImageColor.getrgb(colour)).all(axis=-1)
        assert drawn.sum() > 150, colour
    assert "var(" not in (tmp_path / "curve.svg").read_text()

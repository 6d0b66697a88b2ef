"""The run report: complete, self-contained, and nobody's name is its markup."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from sqlalchemy import func, insert, select, update

from export.conftest import (
    BACKWARDS,
    BAD_FILES,
    HOSTILE_DATASET,
    HOSTILE_MONITOR,
    QUOTES,
    SCRIPT,
    Element,
    Finished,
    Page,
    parse,
    run_on,
)
from trap_ops import local
from trap_ops.config.model import Configuration
from trap_ops.export.report import write_report
from trap_ops.export.wording import NOT_MEASURED
from trap_ops.records.images import CheckResult
from trap_ops.records.names import visible
from trap_ops.records.sky import FAILED, FITTED, SKIPPED, FitKind
from trap_ops.science.forced_fits import NoFit
from trap_ops.science.sky_history import EXPIRED, FOUNDED_THIS_STEP
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store import images
from trap_ops.store.candidates import list_candidates
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.light_curves import load_light_curves
from trap_ops.store.outcomes import all_outcomes
from trap_ops.store.quality_checks import checks_of, warned_images
from trap_ops.store.runs import stage_times
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    forcedfit,
    image,
    monitor,
    runningcatalog,
)

KIND_CLASSES = {
    0: "blind",
    int(FitKind.FORWARD): "forward",
    int(FitKind.BACKWARD): "backward",
    int(FitKind.MONITOR): "monitored",
}


def articles(page: Page) -> list[Element]:
    return page.all("article")


def marks(page: Page, article: Element) -> Counter[str]:
    """Points of a light curve by kind: those that say what they are, unlike the legend's."""
    return Counter(
        str(title.within[-2].attributes["class"])
        for title in page.all("title")
        if article in title.within and title.within[-1].tag == "g" and title.text.count("UTC\n")
        if title.within[-2].attributes.get("class") in KIND_CLASSES.values()
    )


def test_page_needs_no_network_and_runs_no_script(hostile: Finished) -> None:
    page = hostile.page
    tags = {element.tag for element in page.elements}
    assert not tags & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "foreignobject",
    }
    ids = {element.attributes.get("id") for element in page.elements}
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.tag, name)
            if name in {"href", "xlink:href"}:
                assert value is not None
                assert value.startswith("#")
                assert value[1:] in ids, value
            elif name == "src":
                assert value is not None
                assert value.startswith("data:image/png;base64,")
            elif name != "content":
                assert "//" not in (value or ""), (element.tag, name, value)
    style = page.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "http://" not in hostile.html
    assert "https://" not in hostile.html
    policy = page.all("meta")[1].attributes
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none';")


def test_every_rejected_file_is_listed_once_with_stage_and_message(hostile: Finished) -> None:
    rows = hostile.page.table_after("rejected")[1:]
    found = {name: (stage, message) for name, stage, _, message, _, _ in rows}
    assert len(rows) == len(found)
    assert found.keys() == {visible(name) for name in BAD_FILES}
    for name, (stage, words) in BAD_FILES.items():
        assert found[visible(name)][0] == stage
        assert words in found[visible(name)][1]
        assert not found[visible(name)][1].startswith(visible(name))


def test_every_stage_of_every_image_is_listed(hostile: Finished) -> None:
    with hostile.store.read() as connection:
        rows = images.images_of(connection, hostile.record.dataset)
        outcomes = all_outcomes(connection, hostile.record.dataset, [row.id for row in rows])
    head, *rows = hostile.page.table_after("images")
    assert len(rows) == len(set(outcomes["unit"]))
    written = Counter(
        (stage, cell.split(":")[0])
        for row in rows
        for stage, cell in zip(head[4:], row[4:], strict=True)
        if cell != "\N{EN DASH}"
    )
    stored = Counter(
        (stage.replace("_", " "), result)
        for stage, result in zip(outcomes["stage"], outcomes["result"], strict=True)
    )
    assert written == stored


def test_every_check_of_every_image_is_listed(hostile: Finished) -> None:
    with hostile.store.read() as connection:
        rows = images.images_of(connection, hostile.record.dataset)
        checks = checks_of(connection, [row.id for row in rows])
    start = hostile.page.elements.index(hostile.page.one("h2", id="checks"))
    end = hostile.page.elements.index(hostile.page.one("h2", id="images"))
    inside = hostile.page.elements[start:end]
    counted = hostile.page.table_after("checks")
    by_name = {row[0].replace(" ", "_"): row[1:5] for row in counted[1:]}
    names = {check.name for made in checks.values() for check in made}
    assert by_name.keys() == names
    for name, numbers in by_name.items():
        made = Counter(c.result for of_image in checks.values() for c in of_image if c.name == name)
        assert [int(n) for n in numbers] == [made[result] for result in CheckResult], name
    # Checks with rejections come first.
    assert {row[0] for row in counted[1:3]} == {"flat", "nan"}
    cells = [e for e in inside if e.tag == "td" and e.attributes.get("title") is not None]
    assert len(cells) == len(checks) * len(names)
    worst = [e for e in cells if "bad" in str(e.attributes["class"]).split()]
    assert len(worst) == sum(c.result == "rejected" for made in checks.values() for c in made)
    assert any("All pixels are 0.5" in str(e.attributes["title"]) for e in worst)


def test_a_rejected_image_stands_with_what_was_measured(hostile: Finished) -> None:
    rows = {row[0]: row[4:] for row in hostile.page.table_after("rejected")[1:]}
    assert rows["all-nan.fits"] == ["1.00", "up to 0.900"]
    assert rows["flat.fits"] == ["0 Jy/beam", "above 0"]
    assert rows["text.fits"] == ["\N{EN DASH}", ""]


def test_warnings_are_counted_and_named(store: Store, night: Path, tmp_path: Path) -> None:
    """The field is somewhere within 180 deg of Cassiopeia A."""
    local.run(
        sorted(night.glob("t0*.fits"))[:2],
        "warned",
        store_url=store.url.render_as_string(hide_password=False),
        overrides={"quality": {"bright_sources": ["CasA"], "bright_warn_deg": 180.0}},
        output_dir=tmp_path,
    )
    page = parse(next(tmp_path.rglob("*.html")).read_text(encoding="utf-8"))
    tiles = [e.text for e in page.all("div") if "tile" in str(e.attributes.get("class"))]
    assert tiles[2] == "2images with a warning"
    found = [e.text for e in page.all("td") if "degrees from CasA." in e.text]
    assert len(found) == 2
    with store.read() as connection:
        assert warned_images(connection, dataset_id(connection, "warned")) == 2


def test_names_are_escaped(hostile: Finished) -> None:
    html, page = hostile.html, hostile.page
    assert page.one("h1").text == HOSTILE_DATASET
    assert HOSTILE_MONITOR in {element.text for element in page.all("h3")}
    names = {element.text for element in page.all("code")}
    assert {SCRIPT, QUOTES} <= names
    for raw in ("<script", "<b>key", "<img src=x", 'onload="x"', BACKWARDS[0]):
        assert raw not in html
    assert "\\u202egnp.fits" in names


def test_light_curve_titles_are_escaped(night: Path, store: Store, tmp_path: Path) -> None:
    """Names of images that are used stand in plots, captions and reasons too."""
    directory = tmp_path / "night"
    directory.mkdir()
    for number, path in enumerate(sorted(night.glob("t*.fits"))):
        shutil.copy(path, directory / f"{number}<i>\"'&lt;.fits")
    finished = run_on(store, directory, tmp_path / "var")
    page = finished.page
    assert not page.all("i")
    titles = [element.text for element in page.all("title")]
    assert any("0<i>\"'&lt;.fits" in title for title in titles)


def test_light_curve_points_are_those_of_the_database(night_run: Finished) -> None:
    page = night_run.page
    with night_run.store.read() as connection:
        ranked = list_candidates(connection, night_run.record.dataset)
        query = (
            select(assocxtrsource.c.runcat, extractedsource.c.extract_type, func.count())
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .group_by(assocxtrsource.c.runcat, extractedsource.c.extract_type)
        )
        stored = {(source, KIND_CLASSES[kind]): n for source, kind, n in connection.execute(query)}
        monitored = list(connection.execute(select(monitor.c.runcat).order_by(monitor.c.id)))
    assert len(ranked["rank"]) >= 3
    owners = [*ranked["runcat"], *(row.runcat for row in monitored)]
    shown = [marks(page, article) for article in articles(page)]
    assert len(shown) == len(owners)
    for source, found in zip(owners, shown, strict=True):
        assert found == {kind: n for (owner, kind), n in stored.items() if owner == source}
    kinds = sum(shown, Counter())
    assert set(kinds) == set(KIND_CLASSES.values())


def test_upper_limits_and_gaps_are_those_of_the_database(night_run: Finished) -> None:
    page = night_run.page
    with night_run.store.read() as connection:
        ranked = list_candidates(connection, night_run.record.dataset)["runcat"]
        limits = Counter(
            connection.execute(
                select(forcedfit.c.runcat).where(forcedfit.c.upper_limit.is_not(None))
            ).scalars()
        )
        gaps = Counter(
            connection.execute(
                select(forcedfit.c.runcat).where(forcedfit.c.status.in_([FAILED, SKIPPED]))
            ).scalars()
        )
    assert sum(limits[source] for source in ranked)
    assert sum(gaps[source] for source in ranked)
    for source, article in zip(ranked, articles(page), strict=False):
        arrows = [
            str(path.attributes["d"]).count("v9")
            for path in page.all("path")
            if article in path.within and path.attributes.get("class") == "limit"
        ]
        assert sum(arrows) == limits[source]
        summary = [e.text for e in page.all("summary") if article in e.within]
        listed = [e for e in page.all("li") if article in e.within and e.inside("details")]
        assert len(listed) == gaps[source]
        assert bool(summary) == bool(gaps[source])
        crosses = [
            e
            for e in page.all("title")
            if article in e.within and e.text.count("not measured: the position is outside")
        ]
        assert len(crosses) <= gaps[source]


def test_fit_that_a_fork_shares_is_one_point(night_run: Finished) -> None:
    """Children of a fork have requests of their own for one fit; a join would repeat it."""
    with night_run.store.write() as connection:
        row = connection.execute(
            select(forcedfit).where(forcedfit.c.status == FITTED, forcedfit.c.runcat.is_not(None))
        ).first()
        assert row is not None
        before = load_light_curves(connection, [row.runcat])
        other = connection.execute(
            select(runningcatalog.c.id).where(runningcatalog.c.id != row.runcat)
        ).scalars()
        busy = set(
            connection.execute(
                select(forcedfit.c.runcat).where(
                    forcedfit.c.image == row.image, forcedfit.c.kind == row.kind
                )
            ).scalars()
        )
        heir = next(i for i in other if i not in busy)
        copy = {**row._mapping, "id": 10**9, "runcat": heir}
        connection.execute(insert(forcedfit).values(copy))
        after = load_light_curves(connection, [row.runcat])
    assert len(before) == len(after)
    np.testing.assert_array_equal(before.upper_limit_jy, after.upper_limit_jy)


def test_position_that_no_image_shows_is_said_in_words(hostile: Finished) -> None:
    text = articles(hostile.page)[-1].text
    assert "on the other side of the sky" in text
    assert "No image has been measured at this position." in text
    assert f"{NOT_MEASURED['outside_image']}: 12 images" in text


def test_every_sky_source_is_in_the_plot_and_candidates_lead_to_their_sections(
    night_run: Finished,
) -> None:
    page = night_run.page
    with night_run.store.read() as connection:
        ranked = list_candidates(connection, night_run.record.dataset)
        names = set(
            connection.execute(
                select(runningcatalog.c.source_name).where(runningcatalog.c.mon_src.is_(False))
            ).scalars()
        )
    plot = next(e for e in page.all("svg") if str(e.attributes["aria-label"]).startswith("Eta"))
    points = [e.text for e in page.all("title") if plot in e.within]
    assert len(points) == len(names)
    assert {line for text in points for line in text.split("\n")} >= names
    links = {str(e.attributes["href"]): e.text for e in page.all("a") if plot in e.within}
    assert links.keys() == {f"#candidate-{rank}" for rank in ranked["rank"]}
    for rank, name in zip(ranked["rank"], ranked["source_name"], strict=True):
        assert name in links[f"#candidate-{rank}"]
        assert name in page.one("article", id=f"candidate-{rank}").text


def pictures(page: Page, article: Element) -> list[np.ndarray]:
    found = []
    for element in page.all("img"):
        if article in element.within:
            data = str(element.attributes["src"]).removeprefix("data:image/png;base64,")
            found.append(np.array(Picture.open(io.BytesIO(base64.b64decode(data))), dtype=float))
    return found


def test_cut_outs_show_the_source_when_it_is_there(night_run: Finished) -> None:
    """A transient is dark in the centre at its brightest, and not before; noise looks the same."""
    page = night_run.page
    with night_run.store.read() as connection:
        ranked = list_candidates(connection, night_run.record.dataset)
    new = [i for i, kind in enumerate(ranked["kind"]) if kind == "new source"]
    assert new
    for i in new:
        before, at = pictures(page, articles(page)[i])[:2]
        centre = tuple(side // 2 for side in at.shape)
        # 12 beams of 6 pixels across.
        assert at.shape == (73, 73)
        assert at[centre] < 30.0
        assert before[centre] > 120.0
        assert abs(np.median(at) - np.median(before)) < 15.0


def test_files_that_have_gone_or_changed_are_named_instead_of_shown(
    store: Store, night: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "night"
    directory.mkdir()
    files = [Path(shutil.copy(path, directory)) for path in sorted(night.glob("t*150*.fits"))]
    finished = run_on(store, directory, tmp_path / "var")
    whole = len(finished.page.all("img"))
    assert whole >= 3
    for path in files[::2]:
        path.unlink()
    for path in files[1::2]:
        path.write_bytes(path.read_bytes()[:-2880])
    page = parse(write_report(store, finished.record, tmp_path / "again").read_text())
    assert not page.all("img")
    words = [e.text for e in page.all("p") if e.inside("div", class_="picture")]
    assert sum("cannot be read: No such file" in text for text in words) >= 1
    assert sum("has changed since it was registered" in text for text in words) >= 1
    at_edge = sum("image of this band covers the position" in text for text in words)
    assert len(words) == whole + at_edge


def test_dataset_without_candidates(store: Store, tmp_path: Path) -> None:
    plan = SeriesPlan(n_epochs=3, size_px=128, n_steady=5, n_variable=0, n_transient=0, seed=2)
    write_series(plan, tmp_path / "images")
    page = run_on(store, tmp_path / "images", tmp_path / "var").page
    assert "no light curve is so unlikely" in page.one("main").text
    assert not articles(page)
    assert "None: every file" in page.one("main").text
    assert page.all("svg")


def test_dataset_without_images(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("no FITS")
    page = run_on(store, tmp_path, tmp_path / "var").page
    assert [row[0] for row in page.table_after("rejected")[1:]] == ["text.fits"]
    assert "The dataset has no sky sources." in page.one("main").text
    assert not page.all("svg")


def test_candidates_beyond_the_limit_stand_in_the_table_only(
    hostile: Finished, tmp_path: Path
) -> None:
    record = hostile.record
    settings = record.configuration.model_copy(
        update={"report": record.configuration.report.model_copy(update={"max_candidates": 1})}
    )
    limited = type(record)(**{**vars(record), "configuration": settings})
    page = parse(write_report(hostile.store, limited, tmp_path).read_text())
    ranks = [row[0] for row in page.table_after("candidates")[1:] if row[0]]
    assert len(ranks) >= 3
    assert page.one("article", id="candidate-1")
    assert page.one("tr", id="candidate-2")


def test_summary_numbers(hostile: Finished) -> None:
    tiles = [e.text for e in hostile.page.all("div") if "tile" in str(e.attributes.get("class"))]
    with hostile.store.read() as connection:
        mine = forcedfit.c.dataset == hostile.record.dataset
        fitted = connection.execute(
            select(func.count()).select_from(forcedfit).where(mine, forcedfit.c.status == FITTED)
        ).scalar()
    assert tiles[0].startswith("12images accepted")
    assert tiles[1].startswith(f"{len(BAD_FILES)}images rejected")
    assert any(text.startswith(f"{fitted}forced fits") for text in tiles)
    text = hostile.page.one("main").text
    for words in (
        "complete: writing this report is its last stage",
        "default (chosen automatically)",
    ):
        assert words in text


def test_images_without_forced_fits_are_named(night_run: Finished, tmp_path: Path) -> None:
    from trap_ops.store.outcomes import REJECTED
    from trap_ops.store.schema import outcome

    with night_run.store.write() as connection:
        chosen = select(image.c.id).where(image.c.file_name.like("t00003-150%")).scalar_subquery()
        connection.execute(
            update(outcome)
            .where(outcome.c.stage == "fit_forced", outcome.c.image == chosen)
            .values(result=REJECTED, reason="unreadable file", message="gone <away>")
        )
    page = parse(write_report(night_run.store, night_run.record, tmp_path).read_text())
    start = next(i for i, e in enumerate(page.elements) if e.text == "Images without forced fits")
    cells = [e.text for e in page.elements[start:] if e.tag == "td"][:3]
    assert cells == ["t00003-150.000MHz.fits", "unreadable file", "gone <away>"]


def keys_of(settings: dict[str, Any]) -> Iterator[str]:
    """Names of all settings, those of sections within sections too."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from keys_of(value)
        else:
            yield key


def test_settings_versions_checksums_and_times_are_complete(night_run: Finished) -> None:
    page = night_run.page
    text = page.one("main").text
    cells = [e.text for e in page.all("td")]
    assert {key for key in keys_of(Configuration().model_dump()) if key not in cells} == set()
    assert json.dumps(6.0) in cells
    with night_run.store.read() as connection:
        images = connection.execute(select(image.c.file_name, image.c.content_sha256)).all()
        stages = {row["stage"] for row in stage_times(connection, night_run.record.id)}
    assert len(images) == 14
    for row in images:
        assert row.file_name in cells
        assert row.content_sha256 in cells
    assert stages <= set(cells)
    assert {"numpy", "astropy", "python", "trap_ops"} <= set(cells)
    assert night_run.record.fingerprint in text


def test_every_reason_has_words() -> None:
    known = {str(reason) for reason in NoFit} - {""}
    files = {"no such file", "unreadable file", "file changed"}
    assert known | files | {EXPIRED, FOUNDED_THIS_STEP} == NOT_MEASURED.keys()

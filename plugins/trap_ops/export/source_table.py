"""Sources of images as a table for other programs: CSV, VOTable, FITS, regions of DS9."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.io.votable import from_table
from astropy.table import Column, Table

from trap_ops.records.names import one_line
from trap_ops.records.sources import Flag, Sources

_DEG, _ARCSEC, _JY, _JY_BEAM, _PX = u.deg, u.arcsec, u.Jy, u.Jy / u.beam, u.pix

# Name in the classic table extractedsource, attribute, unit, UCD, meaning.
_COLUMNS: tuple[tuple[str, str, u.UnitBase | None, str, str], ...] = (
    ("ra", "ra_deg", _DEG, "pos.eq.ra;meta.main", "right ascension, ICRS"),
    ("decl", "dec_deg", _DEG, "pos.eq.dec;meta.main", "declination, ICRS"),
    ("ra_fit_err", "ra_fit_err_deg", _DEG, "stat.error;pos.eq.ra", "error of the coordinate"),
    ("decl_fit_err", "dec_fit_err_deg", _DEG, "stat.error;pos.eq.dec", "error of decl"),
    ("uncertainty_ew", "sigma_ew_deg", _DEG, "stat.error;pos", "with systematic part"),
    ("uncertainty_ns", "sigma_ns_deg", _DEG, "stat.error;pos", "the same north-south"),
    ("error_radius", "error_radius_arcsec", _ARCSEC, "stat.error;pos", "to the error box's corner"),
    ("f_peak", "peak_jy", _JY_BEAM, "phot.flux.density;em.radio;stat.max", "peak brightness"),
    ("f_peak_err", "peak_err_jy", _JY_BEAM, "stat.error;phot.flux.density", "error of f_peak"),
    ("f_int", "flux_jy", _JY, "phot.flux.density;em.radio", "integrated flux density"),
    ("f_int_err", "flux_err_jy", _JY, "stat.error;phot.flux.density", "error of f_int"),
    ("det_sigma", "snr", None, "stat.snr", "highest pixel over the local rms"),
    ("semimajor", "semimajor_arcsec", _ARCSEC, "phys.angSize.smajAxis", "half width at half max."),
    ("semiminor", "semiminor_arcsec", _ARCSEC, "phys.angSize.sminAxis", "minor axis"),
    ("pa", "pa_deg", _DEG, "pos.posAng", "position angle, north through east"),
    ("semimajor_err", "semimajor_err_arcsec", _ARCSEC, "stat.error;phys.angSize.smajAxis",
     "error of semimajor; NaN where the shape was not fitted"),
    ("semiminor_err", "semiminor_err_arcsec", _ARCSEC, "stat.error;phys.angSize.sminAxis",
     "the same, minor axis"),
    ("pa_err", "pa_err_deg", _DEG, "stat.error;pos.posAng", "at most 90"),
    ("deconv_semimajor", "deconvolved_semimajor_arcsec", _ARCSEC, "phys.angSize.smajAxis",
     "half width at half maximum without the beam; 0 where it is not wider than it"),
    ("deconv_semiminor", "deconvolved_semiminor_arcsec", _ARCSEC, "phys.angSize.sminAxis",
     "the same, minor axis"),
    ("deconv_pa", "deconvolved_pa_deg", _DEG, "pos.posAng", "NaN without a size"),
    ("deconv_semimajor_err", "deconvolved_semimajor_err_arcsec", _ARCSEC,
     "stat.error;phys.angSize.smajAxis", "NaN without a size"),
    ("deconv_semiminor_err", "deconvolved_semiminor_err_arcsec", _ARCSEC,
     "stat.error;phys.angSize.sminAxis", "the same, minor axis"),
    ("deconv_pa_err", "deconvolved_pa_err_deg", _DEG, "stat.error;pos.posAng", "at most 90"),
    ("resolved_sigma", "resolved_sigma", None, "stat.snr", "of being larger than the beam"),
    ("rms", "rms_jy", _JY_BEAM, "stat.stdev", "local rms"),
    ("background", "background_jy", _JY_BEAM, "instr.background", "local background"),
    ("chisq", "chisq", None, "stat.fit.chi2", "sum of (residual / rms) squared"),
    ("reduced_chisq", "reduced_chisq", None, "stat.fit.chi2", "the same per independent pixel"),
    ("x_px", "x_px", _PX, "pos.cartesian.x;instr.det", "pixel, from 0"),
    ("y_px", "y_px", _PX, "pos.cartesian.y;instr.det", "pixel, from 0"),
    ("fit_type", "fit_type", None, "meta.code", "1 Gaussian fit, 0 moments"),
    ("flags", "flags", None, "meta.code.qual", "sum of the codes in flag_words"),
)  # fmt: skip


def source_table(parts: Sequence[tuple[str, Sources]]) -> Table:
    """Return sources of several images, each with its name, as one table with units and UCDs.

    Characters of names that cannot be seen are written as codes.
    """
    made = Table()
    names = [one_line(name) for name, sources in parts for _ in range(len(sources))]
    made["image"] = Column(
        np.array(names, dtype=str), description="image", meta={"ucd": "meta.id;meta.file"}
    )
    for name, attribute, unit, ucd, meaning in _COLUMNS:
        values = [np.asarray(getattr(sources, attribute)) for _, sources in parts]
        made[name] = Column(
            np.concatenate(values) if values else np.empty(0),
            unit=unit,
            description=meaning,
            meta={"ucd": ucd},
        )
    made["flag_words"] = Column(
        np.array([flag_words(value) for value in made["flags"].tolist()], dtype=str),
        description="what is special about the measurement",
        meta={"ucd": "meta.note"},
    )
    return made


def flag_words(flags: int) -> str:
    """Names of the flags of a measurement, separated by spaces."""
    return " ".join(flag.name.lower() for flag in Flag if flags & flag and flag.name)


def as_csv(table: Table) -> bytes:
    """Return a table as CSV with its names in the first line, numbers with all their digits."""
    text = io.StringIO()
    table.write(text, format="ascii.csv")
    return text.getvalue().encode()


def as_votable(table: Table) -> bytes:
    """Return a table as VOTable with units and UCDs, positions in ICRS."""
    file = from_table(table)
    for field in file.get_first_table().fields:
        field.ucd = table[field.name].meta["ucd"]
    buffer = io.BytesIO()
    file.to_xml(buffer)
    return buffer.getvalue()


def as_fits(table: Table) -> bytes:
    """Return a table as a FITS binary table with units; FITS has ASCII only, the rest is codes."""
    ascii_only = table.copy()
    names = [name.encode("ascii", "backslashreplace") for name in table["image"].tolist()]
    ascii_only["image"] = Column(np.array(names, dtype=bytes), description="image")
    buffer = io.BytesIO()
    ascii_only.write(buffer, format="fits")
    return buffer.getvalue()


def as_regions(table: Table) -> bytes:
    """Return the sources as ellipses for DS9, of half width at half maximum; resolved ones red."""
    lines = ["# Region file format: DS9", "icrs"]
    for row in table:
        colour = "red" if row["flags"] & Flag.RESOLVED else "green"
        # DS9 counts the angle of the first axis from the x axis, which points west.
        lines.append(
            f'ellipse({row["ra"]:.8f},{row["decl"]:.8f},{row["semimajor"]:.4f}",'
            f'{row["semiminor"]:.4f}",{(row["pa"] + 90.0) % 360.0:.3f}) # color={colour} '
            f"text={{{1e3 * row['f_int']:.3g} mJy}}"
        )
    return ("\n".join(lines) + "\n").encode()

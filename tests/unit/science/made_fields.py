"""A field of steady sources with known truth, and made-up images of it to check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from trap_ops.config.model import CatalogueChecksConfig
from trap_ops.records.images import Check
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import Catalogue, canonical, updated_positions
from trap_ops.science.catalogue_checks import CatalogueChecks
from trap_ops.science.catalogue_match import Frame
from trap_ops.science.coordinates import wrap_ra
from trap_ops.science.new_sources import DetectionLimits
from trap_ops.science.reference_fluxes import NO_REFERENCES, ReferenceFluxes
from trap_ops.science.time_steps import HistoryImage
from unit.science.made_detections import catalogue_of, detections

BEAM_DEG = 30.0 / 3600.0
RMS_JY = 1e-3
# Lowest significance of a detection, as the finder has it.
THRESHOLD = 8.0
IMAGE = HistoryImage(
    1, 1, 1, 1, 1, BEAM_DEG, DetectionLimits(1, 1, 0.1, 0.2), 0.0, 0.0, 1.0, BEAM_DEG, RMS_JY
)


@dataclass
class Field:
    """Steady sources about a centre, and the state that images of them are checked against.

    Offsets from the centre, ``x`` and ``y``, are radians in the tangent plane.
    """

    ra_deg: float = 0.0
    dec_deg: float = 45.0
    n_sources: int = 100
    seed: int = 1
    radius_deg: float = 1.0
    config: CatalogueChecksConfig = field(default_factory=CatalogueChecksConfig)
    # Of each source in each image, beside the noise: in flux a fraction, in position beams.
    flux_scatter: float = 0.0
    position_scatter: float = 0.0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        radius = np.radians(self.radius_deg) * np.sqrt(self.rng.random(self.n_sources))
        angle = self.rng.uniform(0.0, 2 * np.pi, self.n_sources)
        self.x, self.y = radius * np.cos(angle), radius * np.sin(angle)
        # Differential counts as flux^-2, from where nothing is detected on.
        self.flux = RMS_JY * np.minimum(5.0 / self.rng.random(self.n_sources), 1000.0)
        self.frame = Frame.at(self.ra_deg, self.dec_deg)
        self.image = replace(
            IMAGE, centre_ra_deg=self.ra_deg, centre_dec_deg=self.dec_deg,
            radius_deg=self.radius_deg,
        )  # fmt: skip
        self.catalogue = Catalogue()
        self.references = ReferenceFluxes(NO_REFERENCES, self.catalogue)
        self.checks = CatalogueChecks(self.config, self.references)

    def look(
        self,
        *,
        scale: float = 1.0,
        shift_beams: tuple[float, float] = (0.0, 0.0),
        n_false: int = 0,
        variable: float = 0.0,
    ) -> tuple[Detections, np.ndarray]:
        """Detections of an image, and which source each is of (-1: none).

        ``scale`` is that of the fluxes, of ``variable`` (a fraction) of the sources another one.
        """
        beam, rng = np.radians(BEAM_DEG), self.rng
        flux = self.flux * scale
        wild = rng.random(self.n_sources) < variable
        flux = np.where(wild, flux * np.exp(rng.normal(0.0, 1.0, self.n_sources)), flux)
        flux = flux * (1.0 + rng.normal(0.0, self.flux_scatter, self.n_sources))
        measured = flux + rng.normal(0.0, RMS_JY, self.n_sources)
        seen = np.flatnonzero(measured >= THRESHOLD * RMS_JY)
        sigma = beam * np.hypot(0.5 * RMS_JY / measured[seen], self.position_scatter)
        x = self.x[seen] + rng.normal(0.0, sigma) + shift_beams[0] * beam
        y = self.y[seen] + rng.normal(0.0, sigma) + shift_beams[1] * beam
        radius = np.radians(self.radius_deg) * np.sqrt(rng.random(n_false))
        angle = rng.uniform(0.0, 2 * np.pi, n_false)
        x = np.concatenate([x, radius * np.cos(angle)])
        y = np.concatenate([y, radius * np.sin(angle)])
        fluxes = np.concatenate([measured[seen], RMS_JY * rng.uniform(8.0, 40.0, n_false)])
        source = np.concatenate([seen, np.full(n_false, -1)])
        ra, dec = self.sky(x, y)
        # The systematic error of a tenth of the beam, as association has it.
        error = np.hypot(0.1 * BEAM_DEG, 0.5 * BEAM_DEG * RMS_JY / fluxes) * 3600.0
        at = detections(ra, dec, error, peak_jy=fluxes, flux_err_jy=RMS_JY)
        order = np.lexsort((at.ra_deg, at.dec_deg))
        return canonical(at), source[order]

    def sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination of offsets."""
        frame = self.frame
        direction = (
            x[:, None] * frame.east + y[:, None] * frame.north
            + np.sqrt(1.0 - x**2 - y**2)[:, None] * frame.centre
        )  # fmt: skip
        ra = np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))
        dec = np.degrees(np.arctan2(direction[:, 2], np.hypot(direction[:, 0], direction[:, 1])))
        return wrap_ra(ra), dec

    def check(self, at: Detections) -> dict[str, Check]:
        """Checks of an image, by name."""
        made = self.checks.check(self.catalogue, self.image, at)
        return {check.name: check for check in made}

    def learn(self, n_images: int = 12) -> Field:
        """Bring good images into the catalogue, each source by its true identity."""
        rows = np.full(self.n_sources, -1)
        for _ in range(n_images):
            at, source = self.look()
            checks = self.check(at)
            known = rows[source] >= 0
            moved = updated_positions(
                self.catalogue.positions.take(rows[source[known]]), at, np.flatnonzero(known)
            )
            self.catalogue.move(rows[source[known]], moved)
            new = at.take(np.flatnonzero(~known))
            self._found(new, source[~known], rows)
            self.references.add(1, rows[source], at.flux_jy, at.flux_err_jy)
            self.checks.remember(
                self.image, {name: check.measured for name, check in checks.items()}
            )
        return self

    def _found(self, new: Detections, source: np.ndarray, rows: np.ndarray) -> None:
        entered = catalogue_of(replace(new, id=1000 * len(self.catalogue) + new.id))
        all_of_it = np.arange(len(new))
        stored = entered.rows(all_of_it)
        rows[source] = self.catalogue.append(
            stored.id, stored.positions, stored.stokes, stored.attempts, stored.founded,
            stored.parent, stored.name,
        )  # fmt: skip

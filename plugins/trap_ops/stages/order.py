"""Names of the stages in the order in which they run, and which of them work on batches."""

from __future__ import annotations

STAGES = (
    "register_images",
    "measure_quality",
    "judge_quality",
    "extract_sources",
    "associate",
    "fit_forced",
    "measure_variability",
    "find_candidates",
    "publish",
)
# Stages that are mapped over batches, and the stage that plans these.
BATCHES_FROM = {
    "measure_quality": "register_images",
    "extract_sources": "judge_quality",
    "fit_forced": "associate",
}

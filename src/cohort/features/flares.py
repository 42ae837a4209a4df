"""Care flares: the nearest that claims come to a worsening of pain inside an episode."""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import matches
from cohort.features.blocks import BLOCK_DAYS, EPISODE, block_number, count_blocks
from cohort.features.episodes import bridge_episodes

INJECTIONS = ("epidural_steroid_injection", "nerve_block", "trigger_point_injection", "stellate_ganglion_block")
"""Classes of the shipped ``treatment_classes`` that count as an injection for pain."""


def care_flares(
    encounters: pl.LazyFrame, procedures: pl.LazyFrame, *, gap_days: int = 90, injections: Codelist | None = None
) -> pl.LazyFrame:
    """Return the care flares of each person's episodes of care for pain.

    Inside an episode (`gap_days`), a sign of a flare is an emergency visit, an injection, or a 28-day block since the
    episode's start with at least two encounter days and at least twice the median count of the episode's blocks. Signs
    at most 28 days apart are one flare. The proxy is this package's own; the consensus definition (hours to weeks,
    hard to tolerate) speaks of what the patient feels.

    Parameters
    ----------
    encounters
        ``person_id, date, end_date, setting`` of care for the pain studied.
    procedures
        ``person_id, date, system, code``.

    Returns
    -------
    LazyFrame
        ``person_id, episode_start, start, end, signs`` (distinct days with a sign); sorted.

    References
    ----------
    Costa N, Ferreira ML, Setchell J, et al. (2019). A definition of "flare" in low back pain: a multiphase process
    involving perspectives of individuals with low back pain and expert consensus. J Pain 20(11):1267-1275.
    doi:10.1016/j.jpain.2019.03.009.
    """
    episodes = bridge_episodes(encounters, gap_days=gap_days).select(
        "person_id", episode_start="start", episode_end="end"
    )
    shots = matches(procedures, injections or Codelist.shipped("treatment_classes").only(category=INJECTIONS))
    dated = [
        encounters.filter(pl.col("setting") == "emergency").select("person_id", "date"),
        shots.select("person_id", "date"),
    ]
    signs = _inside(pl.concat(dated), episodes).select(*EPISODE, "date")
    bursts = _bursts(_inside(encounters.select("person_id", "date"), episodes), episodes)
    all_signs = pl.concat([signs, bursts]).with_columns(end_date="date")
    return bridge_episodes(all_signs, by=EPISODE, gap_days=BLOCK_DAYS).rename({"encounters": "signs"}).drop("days")


def _inside(dated: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Return distinct days inside an episode, with its start and end."""
    inside = pl.col("date").is_between("episode_start", "episode_end")
    return dated.unique().join(episodes, on="person_id").filter(inside)


def _bursts(days: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the encounter days of blocks with twice the median count of the episode, empty blocks included."""
    usual = pl.col("count").median().over(EPISODE)
    burst = count_blocks(days, episodes).filter((pl.col("count") >= 2) & (pl.col("count") >= 2 * usual))
    numbered = days.select(*EPISODE, "date", block=block_number(pl.col("date")))
    return numbered.join(burst, on=[*EPISODE, "block"], how="semi").select(*EPISODE, "date")

"""What refuses a whole load: no room for it, or more rejected than the caller allows. Nothing was committed."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from cohort.errors import InputRefusedError, ResourceError
from cohort.ingest.layouts import Layout
from cohort.ingest.staging import Delivery
from cohort.store.files import make_folder, publish
from cohort.store.manifest import InputFile, TableCount


def refuse_full_disk(store: Path, deliveries: list[Delivery]) -> None:
    """Refuse before a row is written what is sure not to fit: staged lines and tables take about what is read."""
    needed = sum(
        one.inspection.bytes * len(one.used) // max(len(one.inspection.columns), 1) // 2  # half of what is used
        for one in deliveries
    )
    free = shutil.disk_usage(store).free
    if free < needed:
        raise ResourceError(
            f"the disk is full before this ends: {store} has {free / 1e6:,.0f} MB left, and at least "
            f"{needed / 1e6:,.0f} MB are needed. Free space and run again"
        )


def refuse_many_rejects(layout: Layout, inputs: list[InputFile], most: float, rejects: Path) -> None:
    """Refuse the load if more was rejected than the caller allows."""
    for source in layout.sources:
        files = [account for account in inputs if account.source == source]
        rejected = sum(account.rejected for account in files)
        records = rejected + sum(account.loaded for account in files)
        if rejected > most * records:
            reasons: dict[str, int] = {}
            for reason, count in (item for account in files for item in account.reasons.items()):
                reasons[reason] = reasons.get(reason, 0) + count
            counted = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
            raise InputRefusedError(
                f"{source}: {rejected:,} of {records:,} records rejected ({counted}), more than the share of "
                f"{most:g} that --max-reject-rate allows; nothing was loaded. "
                f"Records and line numbers are in {rejects}"
            )


def refuse_many_rejected_rows(
    counts: dict[str, TableCount], most: float, last_day: dt.date, work: Path, rejects: Path
) -> None:
    """Keep rejected rows below ``private/``; refuse the load if they are more than the caller allows."""
    for path in sorted(work.glob("rejected-*.parquet")):
        make_folder(rejects)
        publish(path, rejects / path.name.removeprefix("rejected-"))
    for table, count in counts.items():
        rejected = sum(count.rejected.values())
        if rejected > most * count.supplied:
            reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in count.rejected.items())
            raise InputRefusedError(
                f"{table}: {rejected:,} of {count.supplied:,} rows rejected ({reasons}), more than the share of "
                f"{most:g} that --max-reject-rate allows; nothing was loaded. future_date means later "
                f"than {last_day} (--extracted-on); implausible, outside the range of its instrument. The rows "
                f"are in {rejects}"
            )

"""The rules as a page of the documentation: ``python -m cohort.checks.catalogue > docs/data_quality.md``."""

from __future__ import annotations

import sys

from cohort.checks.rules import Rulebook

_HEAD = """# Data quality: the rules of `cohort check`

Written by `python -m cohort.checks.catalogue` from `sql/check/rules.toml`; a test keeps it in step.

    cohort check store
    cohort check store --out quality --counts counts.json
    cohort check --counts counts.json --thresholds thresholds.toml

The first command prints what is wrong with the newest snapshot. The second writes `check.html`, `check.json`,
`check.csv` and `counts.json` into a folder, and saves the counts. The third judges saved counts by other thresholds
without opening the store. The exit code is 0 if the store passes, with warnings or without, and 3 if it does not.

From Python: `cohort.checks.check.check(store, thresholds, out)` returns the same as a `CheckResult`, with `.passed`,
`.judgements` and `.to_polars()`; `cohort.checks.document.section(result)` is the section of HTML for a report.

## How a rule is judged

Each file of `sql/check/` counts, for every rule of its family, the rows that offend and the rows that were examined,
some rules in parts: by column, year, month or coding system. A rule is broken if any of its parts is beyond the
threshold; the worst part is shown. Nothing but counts leaves the query: no value of a row, and no year or month with
fewer rows than the definitions below ask for.

| status | meaning |
|---|---|
| passed | every part was within the threshold |
| warned, failed | a part was beyond it; the severity of the rule says which of the two |
| not run | the SQL or a file could not be read, or a count is missing or impossible: failed, whatever the severity |
| not applicable | there was nothing, or too little, to examine; not a pass, and not counted as one |
| off | silenced by the thresholds file; listed all the same |

## Other thresholds

A thresholds file has the shape of `sql/check/rules.toml` and holds only what it changes:

```toml
[keys.rules]
diagnosis_unlisted_person = { max_share = 0.05 }

[outside_enrolment.rules]
dispensing_outside_enrolment = { severity = "off" }
```

`max_count` is the largest number that may offend, `max_share` the largest share of what was examined, `between` the
least and the greatest ratio of the two counts; one of them replaces another. Severities are `error`, `warning` and
`off`. The file may also have a table `[definitions]` with other parameters of the SQL; these change what is counted and
need the store.

The SQL runs as it stands in the DuckDB shell, against views named after the store's tables over the Parquet files of
one snapshot (drift also wants them in a schema `previous`), with the parameters that its header names.

Kahn et al. 2016 is doi 10.13063/2327-9214.1244, Weiskopf and Weng 2013 doi 10.1136/amiajnl-2011-000681.
"""


def catalogue() -> str:
    """Return the page in Markdown."""
    book = Rulebook.read()
    parts = [_HEAD, "## Definitions\n", "| parameter | value |", "|---|---|"]
    parts += [f"| `{name}` | {value} |" for name, value in book.definitions.items()]
    parts.append(f"\n## The {len(book.rules)} rules")
    for family in book.families:
        rules = book.family(family)
        parts += [f"\n### `{family}.sql`\n", "| rule | offends | severity | allowed |", "|---|---|---|---|"]
        parts += [f"| `{rule.id}` | {rule.what} | {rule.severity.value} | {rule.threshold} |" for rule in rules]
        parts += [f"\nRepair: {rules[0].repair}.  \nSource: {rules[0].source}."]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(catalogue())

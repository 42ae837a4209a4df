"""Data quality: what is wrong with a store, and whether that is more than its users tolerate.

The flow is `check.check`: ``rules`` reads ``sql/check/rules.toml``, ``views`` shows a snapshot and the one before it to
DuckDB, ``counts`` runs the SQL of every family, ``judge`` holds the counts against the thresholds, and ``document``
writes them down. Counting reads the store, judging reads the counts only. A rule that could not run has failed.

References
----------
Kahn et al. (2016), doi 10.13063/2327-9214.1244: conformance, completeness and plausibility as the kinds of quality.
Weiskopf and Weng (2013), doi 10.1136/amiajnl-2011-000681: what completeness means for secondary use.
"""

"""Engines map a function over buckets and merge what comes back; they know no epidemiology."""

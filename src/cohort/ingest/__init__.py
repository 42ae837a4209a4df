"""From a supplier's files to the store's tables, with an account of every physical line.

The flow is `load.ingest`: ``guard`` looks at the raw bytes, ``staging`` parses and types every record or says why not,
``keying`` replaces identifiers, ``writing`` runs the layout's SQL bucket by bucket, and the store commits the result.
``workers`` does each step on several blocks, shares or buckets at a time; no step holds more than these in memory.
"""

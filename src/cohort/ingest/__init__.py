"""From a supplier's files to the store's tables, with an account of every physical line.

The flow is `load.ingest`: ``guard`` looks at the raw bytes, ``pseudonyms`` replaces identifiers, ``staging`` types
every record or says why not, ``tables`` runs the layout's SQL bucket by bucket, and the store commits the result.
"""

"""The store: Parquet tables of one data cut, in buckets, under numbered manifests."""

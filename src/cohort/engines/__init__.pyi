# Written by tools/build_reference.py from the names in __init__.py; change those, then run it.
from cohort.engines.dask import dask as dask
from cohort.engines.local import local as local
from cohort.engines.spark import spark as spark

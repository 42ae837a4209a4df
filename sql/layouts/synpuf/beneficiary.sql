-- what:   beneficiary summaries with their year, which the files have in their names only
-- grain:  one row per beneficiary and year
-- reads:  extract.beneficiary_file
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
select *, regexp_extract(FILE, 'DE1_0_(\d{4})_', 1)::integer as year
from extract.beneficiary_file

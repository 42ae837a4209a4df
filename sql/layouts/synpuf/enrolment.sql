-- what:   spans covered by Parts A and B and by no HMO, as `coverage` places them
-- grain:  one row per beneficiary and year with a covered month
-- reads:  extract.coverage
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary; our rule
select person, start_date, end_date
from extract.coverage
where kind = 'care'

-- what:   beneficiary summaries of the three years with the year, which the files have in their names only
-- grain:  one row per beneficiary and year
-- reads:  extract.beneficiary_2008, extract.beneficiary_2009, extract.beneficiary_2010
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
select 2008 as year, * from extract.beneficiary_2008
union all
select 2009 as year, * from extract.beneficiary_2009
union all
select 2010 as year, * from extract.beneficiary_2010

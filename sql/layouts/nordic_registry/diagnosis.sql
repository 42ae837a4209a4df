-- what:   diagnoses in ICD-10; the main diagnosis (HDIA) is the first
-- grain:  one row per contact and filled diagnosis column
-- reads:  extract.contact
-- params: none
-- source: National Board of Health and Welfare, National Patient Register (HDIA, DIA1 to DIA30)
with written as (
    select
        person, date, end_date, 'icd10' as system, setting, unnest(codes) as code, unnest(range(1, 32)) as position
    from extract.contact
)
select * from written where code is not null

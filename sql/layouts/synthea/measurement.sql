-- what:   pain scores from 0 to 10 as reported, among the observations; other observations are left out
-- grain:  one row per line of observations with LOINC code 72514-3 and a number
-- reads:  extract.observations
-- params: none
-- source: Synthea CSV File Data Dictionary, observations; LOINC 72514-3, pain severity, 0-10 verbal numeric rating
select
    PATIENT as person,
    "DATE" as date,
    'NRS' as instrument,
    try_cast("VALUE" as double) as value
from extract.observations
where CODE = '72514-3' and "VALUE" is not null

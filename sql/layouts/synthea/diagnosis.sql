-- what:   diagnoses in SNOMED CT, dated at their START. STOP is the day the condition ended, not the encounter, so
--         the encounter is taken as one day; the export does not say where care took place
-- grain:  one row per line of conditions
-- reads:  extract.conditions
-- params: none
-- source: Synthea CSV File Data Dictionary, conditions
select
    PATIENT as person,
    "START" as date,
    "START" as end_date,
    'snomed' as system,
    CODE as code,
    'unknown' as setting,
    null as position
from extract.conditions

-- what:   procedures in SNOMED CT, dated at their start (START; DATE in the older generation); the export does not say
--         where care took place
-- grain:  one row per line of procedures
-- reads:  extract.procedures
-- params: none
-- source: Synthea CSV File Data Dictionary, procedures
select
    PATIENT as person,
    coalesce("START", "DATE") as date,
    'snomed' as system,
    CODE as code,
    'unknown' as setting
from extract.procedures

-- what:   procedures and devices that are not coded in ICD diagnoses
-- grain:  one row per line of procedure_occurrence and device_exposure
-- reads:  extract.event
-- params: none
-- source: OMOP Common Data Model 5.4
select person, day as date, system, code, setting
from extract.event
where kind = 'procedure' and (system is null or system not in ('icd9cm', 'icd10', 'icd10cm'))

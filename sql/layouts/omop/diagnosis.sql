-- what:   conditions, and whatever else is coded in ICD diagnoses: the conversion to OMOP moves diagnoses such as Z98.8
--         to observations and procedures, by the domain of their standard concept
-- grain:  one row per condition, and per observation or procedure with an ICD diagnosis
-- reads:  extract.event
-- params: none
-- source: OMOP Common Data Model 5.4; our rule
select person, day as date, last_day as end_date, system, code, setting, position
from extract.event
where kind = 'condition' or system in ('icd9cm', 'icd10', 'icd10cm')

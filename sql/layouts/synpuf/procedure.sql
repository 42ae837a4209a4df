-- what:   procedures: HCPCS (level I, which is CPT, included) and ICD-9 procedures. The files date no procedure, so
--         each takes the first day of its encounter
-- grain:  one row per claim, segment and filled procedure column
-- reads:  extract.claim
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
with listed as (
    select person, encounter_start, setting, 'hcpcs' as system, unnest(hcpcs) as code from extract.claim
    union all
    select person, encounter_start, setting, 'icd9proc' as system, unnest(icd_procedures) as code from extract.claim
)
select person, encounter_start as date, system, code, setting
from listed
where code is not null

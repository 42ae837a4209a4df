-- what:   diagnoses in ICD-9-CM, those of the claim in their order (the first is the principal one), those of a
--         carrier line without position. The admitting diagnosis is left out: it is a suspicion, which the diagnoses
--         of the stay settle
-- grain:  one row per claim, segment and filled diagnosis column
-- reads:  extract.claim
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
with listed as (
    select *, unnest(diagnoses) as code, unnest(range(1, len(diagnoses) + 1)) as position from extract.claim
    union all
    select *, unnest(line_diagnoses) as code, null as position from extract.claim
)
select person, encounter_start as date, encounter_end as end_date, 'icd9cm' as system, code, setting, position
from listed
where code is not null

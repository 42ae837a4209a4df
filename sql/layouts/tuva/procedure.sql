-- what:   procedures: the HCPCS code of each line (level I, which is CPT, included: they share one column and no code),
--         and the ICD procedures of the claim. HCPCS are dated by their line, ICD procedures by their own date, else
--         by the encounter. ICD type as for diagnoses: ICD-9 if it says so, or if empty before 1 October 2015
-- grain:  one row per line of medical_claim and filled code
-- reads:  extract.claim_line
-- params: none
-- source: Tuva input layer, medical_claim; 45 CFR 162.1002 (compliance date of ICD-10)
with icd as (
    select
        person_id as person,
        encounter_start,
        case
            when procedure_code_type in ('icd-9-pcs', 'icd-9-cm') then 'icd9proc'
            when procedure_code_type is null and claim_start_date < date '2015-10-01' then 'icd9proc'
            else 'icd10pcs'
        end as system,
        setting,
        unnest(procedure_code_) as code,
        unnest(procedure_date_) as day  -- null where there are fewer of them
    from extract.claim_line
)
select person, coalesce(day, encounter_start) as date, system, code, setting
from icd
where code is not null
union all
select
    person_id as person,
    coalesce(claim_line_start_date, claim_start_date) as date,
    'hcpcs' as system,
    hcpcs_code as code,
    setting
from extract.claim_line
where hcpcs_code is not null

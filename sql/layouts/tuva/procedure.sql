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
        unnest([
        procedure_code_1, procedure_code_2, procedure_code_3, procedure_code_4, procedure_code_5,
        procedure_code_6, procedure_code_7, procedure_code_8, procedure_code_9, procedure_code_10,
        procedure_code_11, procedure_code_12, procedure_code_13, procedure_code_14, procedure_code_15,
        procedure_code_16, procedure_code_17, procedure_code_18, procedure_code_19, procedure_code_20,
        procedure_code_21, procedure_code_22, procedure_code_23, procedure_code_24, procedure_code_25
        ]) as code,
        unnest([
        procedure_date_1, procedure_date_2, procedure_date_3, procedure_date_4, procedure_date_5,
        procedure_date_6, procedure_date_7, procedure_date_8, procedure_date_9, procedure_date_10,
        procedure_date_11, procedure_date_12, procedure_date_13, procedure_date_14, procedure_date_15,
        procedure_date_16, procedure_date_17, procedure_date_18, procedure_date_19, procedure_date_20,
        procedure_date_21, procedure_date_22, procedure_date_23, procedure_date_24, procedure_date_25
        ]) as day
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

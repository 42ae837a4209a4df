-- what:   diagnoses, the 25 columns of a line put one below the other; the first is the principal one.
--         System: diagnosis_code_type is believed only where it says icd-9-cm (real deliveries call diagnoses
--         icd-10-pcs, or nothing); else ICD-10-CM, but ICD-9-CM where it is empty and the claim is from before the
--         change of 1 October 2015
-- grain:  one row per line of medical_claim and filled diagnosis column
-- reads:  extract.claim_line
-- params: none
-- source: Tuva input layer, medical_claim; 45 CFR 162.1002 (compliance date of ICD-10)
with written as (
    select
        person_id as person,
        encounter_start as date,
        encounter_end as end_date,
        case
            when diagnosis_code_type = 'icd-9-cm' then 'icd9cm'
            when diagnosis_code_type is null and claim_start_date < date '2015-10-01' then 'icd9cm'
            else 'icd10cm'
        end as system,
        setting,
        unnest(diagnosis_code_) as code,
        unnest(range(1, len(diagnosis_code_) + 1)) as position
    from extract.claim_line
)
select * from written where code is not null

-- what:   procedures: the HCPCS code of each line (level I, which is CPT, included) and the ICD procedures of the claim.
--         HCPCS are dated by their line (first day of expense, or revenue centre), ICD procedures by their own date,
--         both else by the encounter. ICD version as for diagnoses
-- grain:  one row per claim line and filled procedure column
-- reads:  extract.claim_line
-- params: none
-- source: ResDAC, RIF record layouts; 45 CFR 162.1002 (compliance date of ICD-10)
with icd as (
    select
        BENE_ID as person,
        encounter_start,
        CLM_THRU_DT,
        setting,
        unnest(ICD_PRCDR_CD) as code,
        unnest(ICD_PRCDR_VRSN_CD) as version,
        unnest(PRCDR_DT) as day
    from extract.claim_line
)
select
    person,
    coalesce(day, encounter_start) as date,
    case
        when version = '9' or (version is null and CLM_THRU_DT < date '2015-10-01') then 'icd9proc'
        else 'icd10pcs'
    end as system,
    code,
    setting
from icd
where code is not null
union all
select
    BENE_ID as person,
    coalesce(LINE_1ST_EXPNS_DT, REV_CNTR_DT, encounter_start) as date,
    'hcpcs' as system,
    HCPCS_CD as code,
    setting
from extract.claim_line
where HCPCS_CD is not null

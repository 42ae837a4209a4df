-- what:   diagnoses of claims and lines. Position: PRNCPAL_DGNS_CD is 1; ICD_DGNS_CDn is n where the first of them
--         repeats the principal diagnosis, as it should, and n + 1 where it does not; external causes and diagnoses of
--         lines have none. The admitting diagnosis and the patient's reason for the visit are left out: they are what
--         was suspected. System: the version code beside the diagnosis (9 or 0); without one, ICD-9-CM on claims that
--         end before 1 October 2015, else ICD-10-CM
-- grain:  one row per claim line and filled diagnosis column
-- reads:  extract.claim_line
-- params: none
-- source: ResDAC, RIF record layouts; 45 CFR 162.1002 (compliance date of ICD-10)
with line as (
    select
        *,
        PRNCPAL_DGNS_CD is not null and PRNCPAL_DGNS_CD is distinct from ICD_DGNS_CD[1] as principal_apart
    from extract.claim_line
), listed as (
    select *, PRNCPAL_DGNS_CD as code, PRNCPAL_DGNS_VRSN_CD as version, 1 as position from line
    union all
    select
        *,
        unnest(ICD_DGNS_CD),
        unnest(ICD_DGNS_VRSN_CD),
        unnest(range(1, len(ICD_DGNS_CD) + 1)) + principal_apart::integer
    from line
    union all
    select *, FST_DGNS_E_CD, FST_DGNS_E_VRSN_CD, null from line
    union all
    select *, unnest(ICD_DGNS_E_CD), unnest(ICD_DGNS_E_VRSN_CD), null from line
    union all
    select *, LINE_ICD_DGNS_CD, LINE_ICD_DGNS_VRSN_CD, null from line
)
select
    BENE_ID as person,
    encounter_start as date,
    encounter_end as end_date,
    case
        when version = '9' or (version is null and CLM_THRU_DT < date '2015-10-01') then 'icd9cm'
        else 'icd10cm'
    end as system,
    code,
    setting,
    position
from listed
where code is not null

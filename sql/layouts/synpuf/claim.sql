-- what:   inpatient, outpatient and carrier claims with the setting and the days of their encounter, codes in lists.
--         Days: an inpatient stay lasts from admission to discharge where they are given, everything else from the
--         first to the last day of the claim; a segment without dates takes those of the claim's other segment.
--         Setting: inpatient claims are inpatient; outpatient claims are outpatient, but emergency if an emergency
--         visit is billed on them; carrier claims have no place of service here, so the visit billed on them decides
--         (emergency before inpatient, facility, home, outpatient) and without a visit the setting is unknown.
--         Every claim counts, paid or not: payment does not say whether care took place
-- grain:  one row per claim and segment
-- reads:  extract.inpatient, extract.outpatient, extract.carrier, codes.visit_code
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary; our rules
with written as (
    select
        DESYNPUF_ID as person,
        CLM_ID as claim,
        'inpatient' as file,
        coalesce(CLM_ADMSN_DT, CLM_FROM_DT) as first_day,
        coalesce(NCH_BENE_DSCHRG_DT, CLM_THRU_DT) as last_day,
        ICD9_DGNS_CD_ as diagnoses,
        []::varchar[] as line_diagnoses,
        ICD9_PRCDR_CD_ as icd_procedures,
        HCPCS_CD_ as hcpcs,
        CLM_PMT_AMT as paid
    from extract.inpatient
    union all
    select
        DESYNPUF_ID,
        CLM_ID,
        'outpatient',
        CLM_FROM_DT,
        CLM_THRU_DT,
        ICD9_DGNS_CD_,
        []::varchar[],
        ICD9_PRCDR_CD_,
        HCPCS_CD_,
        CLM_PMT_AMT
    from extract.outpatient
    union all
    select
        DESYNPUF_ID,
        CLM_ID,
        'carrier',
        CLM_FROM_DT,
        CLM_THRU_DT,
        ICD9_DGNS_CD_,
        LINE_ICD9_DGNS_CD_,
        []::varchar[],
        HCPCS_CD_,
        list_sum(LINE_NCH_PMT_AMT_)
    from extract.carrier
), visit as (
    select billed.person, billed.claim, arg_min(visit_code.setting, visit_code.rank) as setting
    from (select person, claim, unnest(hcpcs) as code from written where file <> 'inpatient') as billed
    join codes.visit_code on visit_code.code = billed.code
    group by billed.person, billed.claim
)
select
    written.* exclude (first_day, last_day),
    min(first_day) over claim_days as encounter_start,
    max(coalesce(last_day, first_day)) over claim_days as encounter_end,
    case written.file
        when 'inpatient' then 'inpatient'
        when 'outpatient' then case when visit.setting = 'emergency' then 'emergency' else 'outpatient' end
        else coalesce(visit.setting, 'unknown')
    end as setting
from written
left join visit on visit.person = written.person and visit.claim = written.claim
window claim_days as (partition by written.person, written.claim)

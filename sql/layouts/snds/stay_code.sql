-- what:   what is written on hospital stays: CIM-10 diagnoses with their position (1 = principal, 2 = related or
--         causal; associated ones and those of single units have none), CCAM acts with their delay in days after the
--         first day, and drugs paid beside the stay. Delays of home hospital acts are not read: they are counted from
--         the start of a sub-sequence that has no date
-- grain:  one row per filled code column of the PMSI tables
-- reads:  extract.mco_b, extract.mco_um, extract.mco_d, extract.mco_a, extract.mco_med, extract.ssr_b, extract.ssr_d,
--         extract.ssr_ccam, extract.had_b, extract.had_d, extract.had_a
-- params: none
-- source: SNDS data dictionary, PMSI tables B, D, UM, A, MED and CCAM
with listed as (
    select 'mco' as kind, FILE, ETA_NUM as hospital, RSA_NUM as number, 'icd10' as system,
        unnest([DGN_PAL, DGN_REL]) as code, unnest([1, 2]) as position, null::bigint as delay, null::double as quantity
    from extract.mco_b
    union all
    select 'mco', FILE, ETA_NUM, RSA_NUM, 'icd10', unnest([DGN_PAL, DGN_REL]), null, null, null from extract.mco_um
    union all
    select 'mco', FILE, ETA_NUM, RSA_NUM, 'icd10', ASS_DGN, null, null, null from extract.mco_d
    union all
    select 'mco', FILE, ETA_NUM, RSA_NUM, 'ccam', CDC_ACT, null, ENT_DAT_DEL, null from extract.mco_a
    union all
    select 'mco', FILE, ETA_NUM, RSA_NUM, 'ucd', right(UCD_UCD_COD, 7), null, null, ADM_NBR from extract.mco_med
    union all
    select 'ssr', FILE, ETA_NUM, RHA_NUM, 'icd10', unnest([MOR_PRP, ETL_AFF, FP_PEC]), unnest([1, 2, null]), null, null
    from extract.ssr_b
    union all
    select 'ssr', FILE, ETA_NUM, RHA_NUM, 'icd10', DGN_COD, null, null, null from extract.ssr_d
    union all
    select 'ssr', FILE, ETA_NUM, RHA_NUM, 'ccam', CCAM_ACT, null, CCAM_DEL_ENT_UM, null from extract.ssr_ccam
    union all
    select 'had', FILE, ETA_NUM_EPMSI, RHAD_NUM, 'icd10', DGN_PAL, 1, null, null from extract.had_b
    union all
    select 'had', FILE, ETA_NUM_EPMSI, RHAD_NUM, 'icd10', DGN_ASS, null, null, null from extract.had_d
    union all
    select 'had', FILE, ETA_NUM_EPMSI, RHAD_NUM, 'ccam', CCAM_COD, null, null, null from extract.had_a
)
select stay.*, listed.system, listed.code, listed.position, listed.delay, listed.quantity
from listed
join extract.stay
    on stay.kind = listed.kind and stay.year = listed.FILE[6:7] and stay.hospital = listed.hospital
    and stay.number = listed.number
where listed.code is not null

-- what:   persons as each year describes them; where years disagree, also about the death, the last one is believed.
--         The region is the state in the Social Security Administration's code
-- grain:  one row per beneficiary and year
-- reads:  extract.beneficiary, codes.iso_sex
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
select
    beneficiary.DESYNPUF_ID as person,
    beneficiary.BENE_BIRTH_DT as birth_date,
    iso_sex.sex,
    beneficiary.BENE_DEATH_DT as death_date,
    beneficiary.SP_STATE_CODE as region,
    make_date(beneficiary.year, 12, 31) as as_of
from extract.beneficiary
left join codes.iso_sex on iso_sex.code = beneficiary.BENE_SEX_IDENT_CD

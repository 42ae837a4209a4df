-- what:   persons as each year describes them; where years disagree, also about the death, the last one is believed.
--         A death that no beneficiary file knows is taken from a claim whose discharge status says that the person
--         died: the day of discharge, else the last day of the claim; of several the latest. The region is the state
--         in the Social Security Administration's code. Names and numbers of the card are not read
-- grain:  one row per beneficiary and year, and per claim line that ends in death
-- reads:  extract.beneficiary, extract.claim_line, codes.iso_sex, codes.discharge_status
-- params: none
-- source: ResDAC, RIF record layouts; our rule
select
    beneficiary.BENE_ID as person,
    beneficiary.BENE_BIRTH_DT as birth_date,
    iso_sex.sex,
    beneficiary.DEATH_DT as death_date,
    beneficiary.STATE_CODE as region,
    make_date(beneficiary.RFRNC_YR, 12, 31) as as_of
from extract.beneficiary
left join codes.iso_sex on iso_sex.code = beneficiary.BENE_SEX_IDENT_CD
union all
select
    line.BENE_ID as person,
    null as birth_date,
    null as sex,
    coalesce(line.NCH_BENE_DSCHRG_DT, line.CLM_THRU_DT) as death_date,
    null as region,
    null as as_of
from extract.claim_line as line
join codes.discharge_status as status on status.code = lpad(line.PTNT_DSCHRG_STUS_CD, 2, '0')
where status.died = 'yes'

-- what:   months covered by Parts A and B and by no HMO, whose care leaves no claim; they end on the day of death that
--         the beneficiary files give. An empty HMO indicator means no HMO where the year counts no HMO month; contract
--         numbers of Part C are not asked. The year is the one in the record (RFRNC_YR), whatever the name of the file
--         says
-- grain:  one row per beneficiary and covered month; the loader merges months that touch
-- reads:  extract.beneficiary, codes.medicare_buyin, codes.medicare_hmo
-- params: none
-- source: ResDAC, Medicare Entitlement/Buy-In Indicator and HMO Indicator; our rule
with listed as (
    select
        BENE_ID as person,
        RFRNC_YR,
        HMO_MO_CNT,
        max(DEATH_DT) over (partition by BENE_ID) as died,
        unnest([*columns('^MDCR_ENTLMT_BUYIN_\d+_IND$')]) as buyin,
        unnest([*columns('^HMO_\d+_IND$')]) as hmo,
        unnest(range(1, 13)) as month
    from extract.beneficiary
), covered as (
    select distinct listed.person, make_date(listed.RFRNC_YR, listed.month, 1) as first_day, listed.died
    from listed
    join codes.medicare_buyin as part on part.code = listed.buyin and part.part_a = 'yes' and part.part_b = 'yes'
    join codes.medicare_hmo as hmo
        on hmo.code = case when listed.HMO_MO_CNT = 0 then coalesce(listed.hmo, '0') else listed.hmo end
        and hmo.claims = 'yes'
)
select person, first_day as start_date, least(died, last_day(first_day)) as end_date
from covered
where died is null or died >= first_day

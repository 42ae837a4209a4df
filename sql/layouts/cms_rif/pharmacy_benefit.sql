-- what:   months in which a plan of Part D covered drugs: outside of them a beneficiary's fills leave no drug event. A
--         contract number says so; N (not in Part D), 0 (not in Medicare), * and an empty cell do not. Months end on
--         the day of death that the beneficiary files give
-- grain:  one row per beneficiary and covered month; the loader merges months that touch
-- reads:  extract.beneficiary
-- params: none
-- source: ResDAC, Part D Contract ID; our rule
with listed as (
    select
        BENE_ID as person,
        RFRNC_YR,
        max(DEATH_DT) over (partition by BENE_ID) as died,
        unnest([*columns('^PTD_CNTRCT_[A-Z]+_ID$')]) as contract,
        unnest(range(1, 13)) as month
    from extract.beneficiary
), covered as (
    select distinct person, make_date(RFRNC_YR, month, 1) as first_day, died
    from listed
    where contract not in ('', 'N', '0', '*')
)
select person, first_day as start_date, least(died, last_day(first_day)) as end_date
from covered
where died is null or died >= first_day

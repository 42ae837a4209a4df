-- what:   spans covered by Parts A and B and by no HMO, whose care leaves no claim (kind = care), and by a plan of Part D,
--         without which fills leave no drug event (kind = drugs). A year states how many months each lasted, not which,
--         so the months of care are the smaller of Parts A and B less those of the HMO. In the year of death they end
--         on the day of death; where nothing was covered the year before but something is the year after they are the
--         last months of the year; otherwise the first
-- grain:  one row per beneficiary, kind and year with a covered month
-- reads:  extract.beneficiary
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary; our rule
with counted as (
    select distinct
        DESYNPUF_ID as person,
        year,
        unnest(['care', 'drugs']) as kind,
        unnest([
            least(12, BENE_HI_CVRAGE_TOT_MONS, BENE_SMI_CVRAGE_TOT_MONS) - BENE_HMO_CVRAGE_TOT_MONS,
            least(12, coalesce(try_cast(PLAN_CVRG_MOS_NUM as integer), 0))
        ]) as months,
        max(BENE_DEATH_DT) over (partition by DESYNPUF_ID) as died
    from extract.beneficiary
), placed as (
    select
        *,
        case
            when year(died) = year then greatest(1, month(died) - months + 1)
            when max(months) over year_before > 0 then 1
            when max(months) over year_after > 0 then 13 - months
            else 1
        end::integer as first_month
    from counted
    window
        year_before as (partition by person, kind order by year range between 1 preceding and 1 preceding),
        year_after as (partition by person, kind order by year range between 1 following and 1 following)
)
select
    person,
    kind,
    make_date(year, first_month, 1) as start_date,
    least(died, last_day(make_date(year, first_month + months - 1, 1))) as end_date
from placed
where months > 0 and (died is null or died >= make_date(year, first_month, 1))

-- what:   codes whose usual amount jumps from one year to the next, as when a supplier turns milligrams into grams
-- grain:  one row per rule; examined are pairs of code and year with an earlier year, offending those with a jump
-- reads:  dispensing
-- params: $fewest_rows_a_code = rows that a code must have in a year; $unit_factor = least ratio of medians that is a
--         jump
-- source: Kahn et al. 2016, plausibility (atemporal); metric prefixes are 1000 apart, and medians move less than
--         tenfold
with amount as (
    select 'dispensing_quantity_jump' as rule, system, code, year(date) as year, quantity as value from dispensing
    union all
    select 'dispensing_days_supply_jump', system, code, year(date), days_supply from dispensing
), usual as (
    select rule, system, code, year, median(value) as usual
    from amount
    where value > 0
    group by rule, system, code, year
    having count(*) >= $fewest_rows_a_code
), paired as (
    select rule, usual, lag(usual) over (partition by rule, system, code order by year) as before from usual
), counted as (
    select rule,
        count(*) filter (where greatest(usual / before, before / usual) >= $unit_factor) as offending,
        count(before) as examined
    from paired
    group by rule
)
select rule, null::varchar as part, coalesce(offending, 0) as offending, coalesce(examined, 0) as examined
from (values ('dispensing_quantity_jump'), ('dispensing_days_supply_jump')) rules(rule)
left join counted using (rule)

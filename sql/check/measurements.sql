-- what:   measurements that are no number, instruments that always give the same one, that change their unit, or whose
--         usual value jumps from one year to the next
-- grain:  one row per rule; examined are values, values, instruments, and pairs of instrument and year
-- reads:  measurement
-- params: $fewest_rows_a_code = rows that an instrument must have, in all or in a year; $scale_factor = least ratio of
--         medians that is a jump
-- source: Kahn et al. 2016, plausibility (atemporal). A visual analogue scale is read in centimetres (0 to 10) or in
--         millimetres (0 to 100); ranges of instruments are enforced when measurements are ingested
with instrument as (
    select instrument, count(*) as rows, count(distinct value) as values
    from measurement
    group by instrument
), unit as (
    select instrument, count(*) as rows
    from measurement
    where unit is not null
    group by instrument, lower(unit)
), usual as (
    select instrument, year(date) as year, median(value) as usual
    from measurement
    where value > 0 and isfinite(value)
    group by instrument, year(date)
    having count(*) >= $fewest_rows_a_code
), paired as (
    select usual, lag(usual) over (partition by instrument order by year) as before from usual
)
select 'measurement_not_finite' as rule, null::varchar as part,
    count(*) filter (where not isfinite(value)) as offending, count(value) as examined
from measurement
union all
select 'measurement_unit_mixed', null,
    coalesce(sum(total - commonest), 0)::bigint, coalesce(sum(total), 0)::bigint
from (select sum(rows) as total, max(rows) as commonest from unit group by instrument)
union all
select 'measurement_constant', null, count(*) filter (where values = 1), count(*)
from instrument
where rows >= $fewest_rows_a_code
union all
select 'measurement_jump', null,
    count(*) filter (where greatest(usual / before, before / usual) >= $scale_factor), count(before)
from paired

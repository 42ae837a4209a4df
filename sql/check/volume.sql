-- what:   months without rows, months and years with far fewer or more rows than those around them
-- grain:  one row per rule and month or year (the part)
-- reads:  person, diagnosis, procedure, dispensing, measurement
-- params: $data_end = last date of an event; $fewest_rows_a_month = rows that make a month count; $fewest_persons =
--         persons that a store must have to be examined
-- source: Kahn et al. 2016, completeness over time. The months examined run from the first that counts to the last
--         before the month of $data_end, so that one stray date in 1920 does not make a century of empty months, and
--         a feed that stops early is seen. An empty month means something where others hold a fifth of what makes
--         one count: of 20 rows expected by chance, none come twice in a thousand million months. Months are held
--         against the median of the twelve around them; years, if whole, against the year before
with event as (
    select 'diagnosis' as name, date from diagnosis
    union all
    select 'procedure', date from procedure
    union all
    select 'dispensing', date from dispensing
    union all
    select 'measurement', date from measurement
), monthly as (
    select name, date_trunc('month', date)::date as month, count(*) as rows
    from event
    where date is not null
    group by all
), span as (
    select
        name,
        min(month) as first,
        (date_trunc('month', $data_end::date) - interval 1 month)::date as last
    from monthly
    where rows >= $fewest_rows_a_month and (select count(*) from person) >= $fewest_persons
    group by name
), calendar as (
    select name, unnest(generate_series(first, last, interval 1 month))::date as month from span
), filled as (
    select
        name, month, coalesce(rows, 0) as rows,
        median(coalesce(rows, 0)) over (
            partition by name order by month rows between 6 preceding and 6 following exclude current row
        )::bigint as usual
    from calendar
    left join monthly using (name, month)
), yearly as (
    select name, year(month) as year, sum(rows) as rows
    from filled
    group by name, year(month)
    having count(*) = 12 or (year(month) = year($data_end::date) and month($data_end::date) = 12 and count(*) = 11)
), paired as (
    select name, year, rows, lag(rows) over (partition by name order by year) as before from yearly
), counted as (
    select name || '_month_missing' as rule, null::varchar as part,
        count(*) filter (where rows = 0) as offending, count(*) as examined
    from filled
    group by name
    having avg(rows) filter (where rows > 0) * 5 >= $fewest_rows_a_month
    union all
    select name || '_month_volume', strftime(month, '%Y-%m'), abs(rows - usual), usual
    from filled
    where usual >= $fewest_rows_a_month
    union all
    select name || '_year_drop', year::varchar, greatest(before - rows, 0), before
    from paired
    where before is not null
)
select rule, part, coalesce(offending, 0)::bigint as offending, coalesce(examined, 0)::bigint as examined
from (values
    ('diagnosis_month_missing'), ('procedure_month_missing'), ('dispensing_month_missing'),
    ('measurement_month_missing'),
    ('diagnosis_month_volume'), ('procedure_month_volume'), ('dispensing_month_volume'), ('measurement_month_volume'),
    ('diagnosis_year_drop'), ('procedure_year_drop'), ('dispensing_year_drop'), ('measurement_year_drop')
) rules(rule)
left join counted using (rule)

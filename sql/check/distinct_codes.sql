-- what:   how many different codes of a system are in use, against the year before
-- grain:  one row per rule, coding system and calendar year (the part) that the system fills from January to December
-- reads:  diagnosis, procedure, dispensing
-- params: $systems = the dictionary's words; $fewest_rows = rows that both years must have
-- source: Kahn et al. 2016, plausibility (temporal); a vocabulary that shrinks was cut to fewer characters or mapped
with coded as (
    select 'diagnosis' as name, system, code, date from diagnosis
    union all
    select 'procedure', system, code, date from procedure
    union all
    select 'dispensing', system, code, date from dispensing
), yearly as (
    select name, system, year(date) as year, count(distinct code) as codes
    from coded
    where list_contains($systems, system)
    group by name, system, year(date)
    having count(*) >= $fewest_rows and min(month(date)) = 1 and max(month(date)) = 12
), paired as (
    select
        *,
        lag(codes) over (partition by name, system order by year) as before,
        lag(year) over (partition by name, system order by year) as year_before
    from yearly
), counted as (
    select name || '_distinct_codes' as rule, system || ' ' || year as part, abs(codes - before) as offending,
        before as examined
    from paired
    where year = year_before + 1
)
select rule, part, coalesce(offending, 0) as offending, coalesce(examined, 0) as examined
from (values ('diagnosis_distinct_codes'), ('procedure_distinct_codes'), ('dispensing_distinct_codes')) rules(rule)
left join counted using (rule)

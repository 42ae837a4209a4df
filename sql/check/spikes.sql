-- what:   events heaped on 1 January and on the first of the month, which is what dates known by year or month become
-- grain:  one row per rule and calendar year (the part) with enough rows
-- reads:  person, diagnosis, procedure, dispensing, measurement
-- params: $fewest_rows = rows that a year must have to be examined; $fewest_persons = persons that a store must have
-- source: Kahn et al. 2016, plausibility (temporal); 1 January is 1 in 365 days, the first of the month 12 in 365
with event as (
    select 'diagnosis' as name, date from diagnosis
    union all
    select 'procedure', date from procedure
    union all
    select 'dispensing', date from dispensing
    union all
    select 'measurement', date from measurement
), counted as (
    select
        name,
        year(date)::varchar as part,
        unnest([
            {'fault': 'january_first', 'offending': count(*) filter (where month(date) = 1 and day(date) = 1)},
            {'fault': 'first_of_month', 'offending': count(*) filter (where day(date) = 1)}
        ], recursive := true),
        count(*) as examined
    from event
    where date is not null and (select count(*) from person) >= $fewest_persons
    group by name, year(date)
    having count(*) >= $fewest_rows
)
select name || '_' || fault as rule, part, coalesce(offending, 0) as offending, coalesce(examined, 0) as examined
from (values ('diagnosis'), ('procedure'), ('dispensing'), ('measurement')) tables(name)
cross join (values ('january_first'), ('first_of_month')) faults(fault)
left join counted using (name, fault)

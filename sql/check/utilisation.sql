-- what:   how much is recorded: rows per person-year of enrolment, and days on which one person has implausibly many
-- grain:  one row per rule; offending / examined is rows per person-year for the `_per_person_year` rules
-- reads:  enrolment, diagnosis, procedure, dispensing, measurement
-- params: $most_rows_a_day
-- source: Kahn et al. 2016, plausibility (atemporal). Too few: a feed is missing; too many: lines were multiplied
with person_day as (
    select 'diagnosis' as name, count(*) as rows from diagnosis group by person_id, date
    union all
    select 'procedure', count(*) from procedure group by person_id, date
    union all
    select 'dispensing', count(*) from dispensing group by person_id, date
    union all
    select 'measurement', count(*) from measurement group by person_id, date
), counted as (
    select name, sum(rows) as rows, count(*) as days, count(*) filter (where rows > $most_rows_a_day) as crowded
    from person_day
    group by name
), observed as (
    select greatest(coalesce(sum(end_date - start_date + 1), 0) * 4 // 1461, 0) as years
    from enrolment
)
select name || '_per_person_year' as rule, null::varchar as part,
    case when years > 0 then coalesce(rows, 0) else 0 end::bigint as offending, years::bigint as examined
from (values ('diagnosis'), ('procedure'), ('dispensing')) tables(name)
cross join observed
left join counted using (name)
union all
select name || '_crowded_day', null, coalesce(crowded, 0), coalesce(days, 0)
from (values ('diagnosis'), ('procedure'), ('dispensing'), ('measurement')) tables(name)
left join counted using (name)

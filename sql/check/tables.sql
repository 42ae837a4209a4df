-- what:   tables without which no study can be run, and that hold no row
-- grain:  one row per rule; examined is 1, offending is 1 where the table is empty
-- reads:  person, enrolment, diagnosis, procedure, dispensing, measurement
-- params: none
-- source: the data dictionary
select 'person_table_empty' as rule, null::varchar as part, (count(*) = 0)::bigint as offending, 1::bigint as examined
from person
union all
select 'enrolment_table_empty', null, (count(*) = 0)::bigint, 1
from enrolment
union all
select
    'event_tables_empty',
    null,
    (
        (select count(*) from diagnosis) + (select count(*) from procedure) + (select count(*) from dispensing)
        + (select count(*) from measurement) = 0
    )::bigint,
    1

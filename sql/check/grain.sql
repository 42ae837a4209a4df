-- what:   rows beyond the first of each grain of a table
-- grain:  one row per rule
-- reads:  enrolment, diagnosis, procedure, dispensing, measurement
-- params: none
-- source: the data dictionary, `grain`
select 'enrolment_duplicate' as rule, null::varchar as part,
    (coalesce(sum(rows), 0) - count(*))::bigint as offending, coalesce(sum(rows), 0)::bigint as examined
from (select count(*) as rows from enrolment group by person_id, start_date)
union all
select 'diagnosis_duplicate', null, (coalesce(sum(rows), 0) - count(*))::bigint, coalesce(sum(rows), 0)::bigint
from (select count(*) as rows from diagnosis group by person_id, date, system, code, setting, position)
union all
select 'procedure_duplicate', null, (coalesce(sum(rows), 0) - count(*))::bigint, coalesce(sum(rows), 0)::bigint
from (select count(*) as rows from procedure group by person_id, date, system, code, setting)
union all
select 'dispensing_duplicate', null, (coalesce(sum(rows), 0) - count(*))::bigint, coalesce(sum(rows), 0)::bigint
from (select count(*) as rows from dispensing group by person_id, date, system, code, quantity, days_supply)
union all
select 'measurement_duplicate', null, (coalesce(sum(rows), 0) - count(*))::bigint, coalesce(sum(rows), 0)::bigint
from (select count(*) as rows from measurement group by person_id, date, instrument, value)

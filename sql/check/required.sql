-- what:   cells that the data dictionary requires and that are null
-- grain:  one row per rule and required column (the part)
-- reads:  person, enrolment, diagnosis, procedure, dispensing, measurement
-- params: none
-- source: the data dictionary, `required`
select
    name || '_required_null' as rule,
    unnest(map_keys(filled)) as part,
    rows - unnest(map_values(filled)) as offending,
    rows as examined
from (
    select 'person' as name, count(*) as rows, map {'person_id': count(person_id)} as filled
    from person
    union all
    select 'enrolment', count(*), map {
        'person_id': count(person_id), 'start_date': count(start_date), 'end_date': count(end_date)}
    from enrolment
    union all
    select 'diagnosis', count(*), map {
        'person_id': count(person_id), 'date': count(date), 'end_date': count(end_date),
        'system': count(system), 'code': count(code)}
    from diagnosis
    union all
    select 'procedure', count(*), map {
        'person_id': count(person_id), 'date': count(date), 'system': count(system), 'code': count(code)}
    from procedure
    union all
    select 'dispensing', count(*), map {
        'person_id': count(person_id), 'date': count(date), 'system': count(system), 'code': count(code)}
    from dispensing
    union all
    select 'measurement', count(*), map {
        'person_id': count(person_id), 'date': count(date), 'instrument': count(instrument), 'value': count(value)}
    from measurement
) counted

-- what:   events of diagnosis vocabularies; inpatient, until discharge, if their day lies in a hospital stay (of several
--         the one that began last), else of unknown setting and one day long
-- grain:  one row per event
-- reads:  extract.event, extract.stay
-- params: none
-- source: MEDS schema 0.3; our rule
select
    event.person,
    event.day as date,
    coalesce(arg_max(stay.last_day, stay.first_day), event.day) as end_date,
    event.system,
    event.word as code,
    case when count(stay.person) > 0 then 'inpatient' else 'unknown' end as setting
from extract.event
left join extract.stay on stay.person = event.person and event.day between stay.first_day and stay.last_day
where event.kind = 'diagnosis'
group by event.person, event.day, event.system, event.word

-- what:   events of procedure vocabularies; inpatient if their day lies in a hospital stay
-- grain:  one row per event
-- reads:  extract.event, extract.stay
-- params: none
-- source: MEDS schema 0.3; our rule
select
    person,
    day as date,
    system,
    word as code,
    case when exists (
        select 1 from extract.stay where stay.person = event.person and event.day between stay.first_day and stay.last_day
    ) then 'inpatient' else 'unknown' end as setting
from extract.event
where kind = 'procedure'

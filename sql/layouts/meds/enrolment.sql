-- what:   from the first to the last day with an event, birth left out; what happened before or between is not known
-- grain:  one row per person with a dated event
-- reads:  extract.event
-- params: none
-- source: our rule
select person, min(day) as start_date, max(day) as end_date
from extract.event
where day is not null and kind is distinct from 'birth'
group by person

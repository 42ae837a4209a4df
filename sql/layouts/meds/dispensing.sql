-- what:   events of drug vocabularies; the number of an event is its quantity
-- grain:  one row per event
-- reads:  extract.event
-- params: none
-- source: MEDS schema 0.3
select person, day as date, system, word as code, value as quantity
from extract.event
where kind = 'dispensing'

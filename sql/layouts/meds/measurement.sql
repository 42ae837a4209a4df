-- what:   every other event with a number; the instrument is its whole code. Values of one day are told apart by their
--         value alone, for the store has no time of day
-- grain:  one row per event with a number
-- reads:  extract.event
-- params: none
-- source: MEDS schema 0.3
select person, day as date, code as instrument, value
from extract.event
where value is not null and kind is null

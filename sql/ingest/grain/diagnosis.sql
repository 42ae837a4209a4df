-- what:   diagnoses, one per day, code, setting and position; of encounters that differ only in their end the longest
-- grain:  one row per person, date, code, setting and position
-- reads:  complete (the normalised rows, free of repeats)
-- params: none
-- source: the data dictionary
select person_id, date, max(end_date) as end_date, system, code, setting, position
from complete
group by person_id, date, system, code, setting, position

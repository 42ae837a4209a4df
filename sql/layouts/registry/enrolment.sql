-- what:   spans of observation as written, an open end meaning until the last date in the data; a person without any
--         is observed from the first to the last line of measurements, filled in or not
-- grain:  one row per line of observation, and per person without one
-- reads:  extract.observation, extract.measurements
-- params: $data_end = latest date of a diagnosis, procedure, dispensing or measurement in the extract
-- source: our long form
select person, start_date, coalesce(end_date, $data_end) as end_date
from extract.observation
union all
select person, min(date), max(date)
from extract.measurements
where person not in (select person from extract.observation)
group by person

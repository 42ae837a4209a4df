-- what:   spans of residence, from immigration or birth to emigration or death; an open end means still resident when
--         the data were cut
-- grain:  one row per line of residence
-- reads:  extract.residence
-- params: $data_end = latest date of a diagnosis, procedure, dispensing or measurement in the extract
-- source: Statistics Sweden, Total Population Register, migrations
select LopNr as person, from_date as start_date, coalesce(to_date, $data_end) as end_date
from extract.residence

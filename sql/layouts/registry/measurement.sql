-- what:   measurements as written; a visit at which the instrument was not filled in is no measurement
-- grain:  one row per line of measurements with a value
-- reads:  extract.measurements
-- params: none
-- source: our long form
select person, date, instrument, value, unit
from extract.measurements
where value is not null

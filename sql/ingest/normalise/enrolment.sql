-- what:   spans of observation as the layout supplied them; a span that ends before it starts loses its end and is
--         thereby incomplete
-- grain:  one row per supplied row
-- reads:  supplied (person_id, start_date, end_date)
-- params: none
-- source: the data dictionary
select
    person_id,
    start_date,
    case when end_date >= start_date then end_date end as end_date,
    false as repaired
from supplied

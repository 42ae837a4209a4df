-- what:   spans of observation as the layout supplied them; a span that ends before it starts loses its end and is
--         thereby incomplete. An end later than the extract (2999-12-31 and the like) means still enrolled: the span
--         then lasts until the end of the data and is marked as `repaired`. `reason` says why a row is rejected: its
--         start is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, start_date, end_date)
-- params: $last_day = last day that the data can speak of; $data_end = latest date of an event
-- source: the data dictionary
select
    person_id,
    start_date,
    case
        when end_date > $last_day and $data_end >= start_date then $data_end
        when end_date between start_date and $last_day then end_date
    end as end_date,
    coalesce(end_date > $last_day, false) as repaired,
    case when start_date > $last_day then 'future_date' end as reason
from supplied

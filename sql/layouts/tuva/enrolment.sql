-- what:   enrolment spans as supplied (the loader merges what overlaps or touches); an open end means enrolled when
--         the data were cut
-- grain:  one row per line of eligibility
-- reads:  extract.eligibility
-- params: $data_end = latest date of a diagnosis, procedure or dispensing in the extract
-- source: Tuva input layer, eligibility
select
    person_id as person,
    enrollment_start_date as start_date,
    coalesce(enrollment_end_date, $data_end) as end_date
from extract.eligibility

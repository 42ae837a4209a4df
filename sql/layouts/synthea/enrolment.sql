-- what:   one span per person. Synthea simulates whole lives and has no enrolment in this export, so a person is
--         observed from birth to death or, if alive, to the last date of any event in the extract
-- grain:  one row per line of patients
-- reads:  extract.patients
-- params: $data_end = latest date of a diagnosis, procedure or dispensing in the extract
-- source: our rule
select
    ID as person,
    BIRTHDATE as start_date,
    coalesce(DEATHDATE, $data_end) as end_date
from extract.patients

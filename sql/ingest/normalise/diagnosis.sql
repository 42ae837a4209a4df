-- what:   diagnoses with settings and systems in the dictionary's vocabulary; codes are spelled after this, each distinct
--         one once (`spelled_code`, in ../spelled_code.sql); an encounter that ends before it starts or after the extract
--         was made is taken as one day;
--         `repaired` marks both. `reason` says why a row is rejected: its date is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, end_date, system, code, setting, position), types coding_system, care_setting
-- params: $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    greatest(date, case when end_date <= $last_day then end_date end) as end_date,
    try_cast(system as coding_system) as system,
    code,
    coalesce(try_cast(setting as care_setting), 'unknown'::care_setting) as setting,
    position,
    coalesce(end_date < date or end_date > $last_day, false)
        or (setting is not null and try_cast(setting as care_setting) is null) as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

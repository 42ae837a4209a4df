-- what:   procedures with settings and systems in the dictionary's vocabulary; codes are spelled after this, each distinct
--         one once (`spelled_code`, in ../spelled_code.sql); `repaired` marks a setting outside the vocabulary;
--         `reason` says why a row is rejected: its date is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, system, code, setting), types coding_system, care_setting
-- params: $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    try_cast(system as coding_system) as system,
    code,
    coalesce(try_cast(setting as care_setting), 'unknown'::care_setting) as setting,
    setting is not null and try_cast(setting as care_setting) is null as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

-- what:   procedures with codes normalised (`spelled_code`, in ../spelled_code.sql) and settings in the dictionary's
--         vocabulary; `repaired` marks a setting outside it
--         `reason` says why a row is rejected: its date is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, system, code, setting)
-- params: $settings, $systems = the dictionary's words; $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    case when list_contains($systems, system) then system end as system,
    spelled_code(code, system) as code,
    case when list_contains($settings, setting) then setting else 'unknown' end as setting,
    setting is not null and not list_contains($settings, setting) as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

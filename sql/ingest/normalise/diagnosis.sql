-- what:   diagnoses with codes normalised (`spelled_code`, in ../spelled_code.sql) and settings in the dictionary's
--         vocabulary; an encounter that ends before it starts or after the extract was made is taken as one day;
--         `repaired` marks both. `reason` says why a row is rejected: its date is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, end_date, system, code, setting, position)
-- params: $settings, $systems = the dictionary's words; $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    greatest(date, case when end_date <= $last_day then end_date end) as end_date,
    case when list_contains($systems, system) then system end as system,
    spelled_code(code, system) as code,
    case when list_contains($settings, setting) then setting else 'unknown' end as setting,
    position,
    coalesce(end_date < date or end_date > $last_day, false)
        or (setting is not null and not list_contains($settings, setting)) as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

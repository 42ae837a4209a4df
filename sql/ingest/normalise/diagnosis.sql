-- what:   diagnoses with codes normalised (`spelled_code`, in ../spelled_code.sql) and settings in the dictionary's
--         vocabulary; an encounter that ends before it starts is taken as one day; `repaired` marks both
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, end_date, system, code, setting, position)
-- params: $settings, $systems = the dictionary's words
-- source: the data dictionary
select
    person_id,
    date,
    greatest(date, end_date) as end_date,
    case when list_contains($systems, system) then system end as system,
    spelled_code(code, system) as code,
    case when list_contains($settings, setting) then setting else 'unknown' end as setting,
    position,
    coalesce(end_date < date, false)
        or (setting is not null and not list_contains($settings, setting)) as repaired
from supplied

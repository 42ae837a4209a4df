-- what:   dispensings with codes normalised (upper case, no dots, no blanks)
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, system, code, quantity, days_supply)
-- params: $systems = the dictionary's words
-- source: the data dictionary
select
    person_id,
    date,
    case when list_contains($systems, system) then system end as system,
    nullif(upper(regexp_replace(code, '[.\s]', '', 'g')), '') as code,
    quantity,
    days_supply,
    false as repaired
from supplied

-- what:   dispensings with codes normalised (`spelled_code`, in ../spelled_code.sql); `reason` says why a row is rejected: its date
--         is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, system, code, quantity, days_supply)
-- params: $systems = the dictionary's words; $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    case when list_contains($systems, system) then system end as system,
    spelled_code(code, system) as code,
    quantity,
    days_supply,
    false as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

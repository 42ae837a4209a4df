-- what:   dispensings with systems in the dictionary's vocabulary; codes are spelled after this, each distinct one once
--         (`spelled_code`, in ../spelled_code.sql); `reason` says why a row is rejected: its date is later than the extract
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, system, code, quantity, days_supply), type coding_system
-- params: $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    try_cast(system as coding_system) as system,
    code,
    quantity,
    days_supply,
    false as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied

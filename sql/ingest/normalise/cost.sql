-- what:   amounts added up; `reason` says why a row is rejected: its date is later than the extract. Lines are added here,
--         before repeats are looked for, because two equal lines of one day are two payments
-- grain:  one row per person, date and service
-- reads:  supplied (person_id, date, service, amount)
-- params: $services = the dictionary's words; $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    date,
    case when list_contains($services, service) then service end as service,
    sum(amount)::bigint as amount,
    coalesce(bool_or(not list_contains($services, service)), false) as repaired,
    case when date > $last_day then 'future_date' end as reason
from supplied
where amount is not null
group by all

-- what:   measurements with the instrument spelled as its plausible range is declared; `reason` says why a value is
--         rejected: it lies outside that range, or its date is later than the extract. An instrument without a declared range is taken as it is
-- grain:  one row per supplied row
-- reads:  supplied (person_id, date, instrument, value, unit), codes.plausible_range
-- params: $last_day = last day that the data can speak of
-- source: the data dictionary; codes/plausible_range.csv and the layout's own ranges
select
    supplied.person_id,
    supplied.date,
    coalesce(declared.code, nullif(trim(supplied.instrument), '')) as instrument,
    supplied.value,
    coalesce(supplied.unit, nullif(declared.unit, '')) as unit,
    false as repaired,
    case when supplied.date > $last_day then 'future_date'
        when supplied.value not between declared.low::double and declared.high::double
        then 'implausible:' || declared.code end as reason
from supplied
left join codes.plausible_range as declared on lower(declared.code) = lower(trim(supplied.instrument))

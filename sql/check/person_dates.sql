-- what:   births and deaths on days that cannot be, or that stand for "unknown"
-- grain:  one row per rule
-- reads:  person
-- params: $earliest_date; $data_end = last date of an event; $oldest_age in years
-- source: Kahn et al. 2016, plausibility (temporal). 1 January is what a birth known by its year alone becomes, the
--         first of a month one known by its month
select unnest([
    {'rule': 'person_birth_too_early', 'part': null::varchar,
        'offending': count(*) filter (where birth_date <= $earliest_date), 'examined': count(birth_date)},
    {'rule': 'person_birth_after_data_end', 'part': null,
        'offending': count(*) filter (where birth_date > $data_end::date),
        'examined': count(birth_date > $data_end::date)},
    {'rule': 'person_birth_january_first', 'part': null,
        'offending': count(*) filter (where month(birth_date) = 1 and day(birth_date) = 1),
        'examined': count(birth_date)},
    {'rule': 'person_birth_first_of_month', 'part': null,
        'offending': count(*) filter (where day(birth_date) = 1), 'examined': count(birth_date)},
    {'rule': 'person_death_before_birth', 'part': null,
        'offending': count(*) filter (where death_date < birth_date), 'examined': count(death_date < birth_date)},
    {'rule': 'person_death_after_data_end', 'part': null,
        'offending': count(*) filter (where death_date > $data_end::date),
        'examined': count(death_date > $data_end::date)},
    {'rule': 'person_too_old', 'part': null,
        'offending': count(*) filter (
            where birth_date + to_years($oldest_age) < coalesce(death_date, $data_end::date)),
        'examined': count(birth_date < coalesce(death_date, $data_end::date))}
], recursive := true)
from person

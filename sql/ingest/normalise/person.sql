-- what:   persons as the layout supplied them, in the dictionary's vocabulary; `repaired` marks a sex outside it, and
--         a birth or death later than the extract, or a death before the birth, all of which become null
-- grain:  one row per supplied row
-- reads:  supplied (person_id, birth_date, sex, death_date, region, deprivation, as_of)
-- params: $sexes = the dictionary's words for administrative sex; $last_day = last day that the data can speak of
-- source: the data dictionary
select
    person_id,
    case when birth_date <= $last_day then birth_date end as birth_date,
    case when list_contains($sexes, sex) then sex end as sex,
    case when death_date <= $last_day and (death_date < birth_date) is not true then death_date end as death_date,
    region,
    deprivation,
    as_of,
    coalesce(not list_contains($sexes, sex), false)
        or coalesce(birth_date > $last_day, false)
        or coalesce(death_date > $last_day or death_date < birth_date, false) as repaired
from supplied

-- what:   persons as the layout supplied them, in the dictionary's vocabulary; `repaired` marks a sex outside it
-- grain:  one row per supplied row
-- reads:  supplied (person_id, birth_date, sex, death_date, region, as_of)
-- params: $sexes = the dictionary's words for administrative sex
-- source: the data dictionary
select
    person_id,
    birth_date,
    case when list_contains($sexes, sex) then sex end as sex,
    death_date,
    region,
    as_of,
    sex is not null and not list_contains($sexes, sex) as repaired
from supplied

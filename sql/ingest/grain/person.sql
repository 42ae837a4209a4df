-- what:   one row per person: column by column the latest value that is not null, "latest" by `as_of`; of values
--         from the same day the greatest, so that the order of rows does not matter. So it is with deaths, from
--         whatever source: the source that speaks last decides; sources without a day (a discharge to death on a claim,
--         a register) count where no dated one knows of a death, and of several the latest
-- grain:  one row per person
-- reads:  complete (person_id, birth_date, sex, death_date, region, deprivation, as_of)
-- params: none
-- source: the data dictionary
with dated as (
    select * replace (coalesce(as_of, date '0001-01-01') as as_of) from complete
)
select
    person_id,
    (max({'as_of': as_of, 'value': birth_date}) filter (where birth_date is not null)).value as birth_date,
    (max({'as_of': as_of, 'value': sex}) filter (where sex is not null)).value as sex,
    (max({'as_of': as_of, 'value': death_date}) filter (where death_date is not null)).value as death_date,
    (max({'as_of': as_of, 'value': region}) filter (where region is not null)).value as region,
    (max({'as_of': as_of, 'value': deprivation}) filter (where deprivation is not null)).value as deprivation
from dated
group by person_id

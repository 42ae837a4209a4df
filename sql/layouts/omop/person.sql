-- what:   persons. Where the day of birth is not recorded the 15th of the month stands for it, where the month is not
--         either the 1st of July. The region is the state of residence
-- grain:  one row per line of person and death
-- reads:  extract.person, extract.death, extract.location, codes.omop_gender
-- params: none
-- source: OMOP Common Data Model 5.4, person and death; our rule
select
    person.person_id as person,
    make_date(
        person.year_of_birth,
        coalesce(person.month_of_birth, 7),
        coalesce(person.day_of_birth, case when person.month_of_birth is null then 1 else 15 end)
    ) as birth_date,
    gender.sex,
    death.death_date,
    location.state as region
from extract.person
left join extract.death on death.person_id = person.person_id
left join extract.location on location.location_id = person.location_id
left join codes.omop_gender as gender on gender.code = person.gender_concept_id::varchar

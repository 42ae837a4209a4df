-- what:   persons; sex as a word of the dictionary, or as F or M
-- grain:  one row per line of persons
-- reads:  extract.persons, codes.gender
-- params: none
-- source: our long form
select persons.person, persons.birth_date, coalesce(gender.sex, persons.sex) as sex, persons.death_date, persons.region
from extract.persons
left join codes.gender on gender.code = upper(persons.sex)

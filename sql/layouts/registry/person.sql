-- what:   persons; sex as a word of the dictionary, or as F or M. A person of whom only measurements are known is a
--         person without description
-- grain:  one row per line of persons, and per person with measurements
-- reads:  extract.persons, extract.measurements, codes.gender
-- params: none
-- source: our long form
select persons.person, persons.birth_date, coalesce(gender.sex, persons.sex) as sex, persons.death_date, persons.region
from extract.persons
left join codes.gender on gender.code = upper(persons.sex)
union all
select distinct person, null::date, null, null::date, null
from extract.measurements

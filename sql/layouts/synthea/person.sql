-- what:   persons; sex is written F or M
-- grain:  one row per line of patients
-- reads:  extract.patients, codes.gender
-- params: none
-- source: Synthea CSV File Data Dictionary, patients
select
    patients.ID as person,
    patients.BIRTHDATE as birth_date,
    coalesce(gender.sex, patients.GENDER) as sex,
    patients.DEATHDATE as death_date,
    patients.STATE as region
from extract.patients
left join codes.gender on gender.code = upper(patients.GENDER)

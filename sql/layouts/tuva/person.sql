-- what:   persons as each enrolment span describes them; where spans disagree, the one that starts last is believed
-- grain:  one row per line of eligibility
-- reads:  extract.eligibility, codes.gender
-- params: none
-- source: Tuva input layer, eligibility
select
    eligibility.person_id as person,
    eligibility.birth_date,
    coalesce(gender.sex, eligibility.gender) as sex,
    eligibility.death_date,
    eligibility.state as region,
    eligibility.enrollment_start_date as as_of
from extract.eligibility
left join codes.gender on gender.code = upper(eligibility.gender)

-- what:   persons as each enrolment span describes them; where spans disagree, the one that starts last is believed.
--         A death that no span knows is taken from a claim whose discharge status says that the person died
-- grain:  one row per line of eligibility, and per claim line that ends in death
-- reads:  extract.eligibility, extract.claim_line, codes.gender, codes.discharge_status
-- params: none
-- source: Tuva input layer, eligibility and medical_claim; our rule
select
    eligibility.person_id as person,
    eligibility.birth_date,
    coalesce(gender.sex, eligibility.gender) as sex,
    eligibility.death_date,
    eligibility.state as region,
    eligibility.enrollment_start_date as as_of
from extract.eligibility
left join codes.gender on gender.code = upper(eligibility.gender)
union all
select
    line.person_id,
    null,
    null,
    coalesce(line.discharge_date, line.claim_end_date, line.claim_start_date),
    null,
    null
from extract.claim_line as line
join codes.discharge_status as status on status.code = lpad(line.discharge_disposition_code, 2, '0')
where status.died = 'yes'

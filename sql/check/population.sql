-- what:   a population that does not look like one: sexes out of balance, persons about whom nothing is known
-- grain:  one row per rule
-- reads:  person, enrolment, diagnosis, procedure, dispensing, measurement
-- params: $silent_years; $fewest_persons = persons that a store must have for its sexes to be compared
-- source: Kahn et al. 2016, plausibility (atemporal); Weiskopf and Weng 2013, completeness
with seen as (
    select person_id from diagnosis
    union
    select person_id from procedure
    union
    select person_id from dispensing
    union
    select person_id from measurement
), observed as (
    select person_id, sum(end_date - start_date + 1) as days from enrolment group by person_id
)
select 'person_sex_imbalance' as rule, null::varchar as part,
    abs(count(*) filter (where sex = 'female') - count(*) filter (where sex = 'male')) as offending,
    count(*) filter (where sex in ('female', 'male')) as examined
from (from person where (select count(*) from person) >= $fewest_persons)
union all
select 'person_without_record', null, count(*) filter (where seen.person_id is null), count(*)
from person
left join seen using (person_id)
union all
select 'person_without_enrolment', null,
    count(*) filter (where observed.person_id is null), count(*)
from person
left join observed using (person_id)
where exists (from enrolment)
union all
select 'person_silent', null, count(*) filter (where seen.person_id is null), count(*)
from observed
left join seen using (person_id)
where days >= $silent_years * 365

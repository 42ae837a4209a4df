-- what:   observation periods; a person without any is enrolled while a payer plan covers her
-- grain:  one row per line of observation_period, and of payer_plan_period for persons without one
-- reads:  extract.observation_period, extract.payer_plan_period
-- params: none
-- source: OMOP Common Data Model 5.4, observation_period and payer_plan_period
select
    person_id as person,
    observation_period_start_date as start_date,
    observation_period_end_date as end_date
from extract.observation_period
union all
select person_id, payer_plan_period_start_date, payer_plan_period_end_date
from extract.payer_plan_period
where person_id not in (select person_id from extract.observation_period)

-- what:   measurements and observations that have a number; the instrument is vocabulary and code of the source concept,
--         else of the standard one, such as LOINC 72514-3
-- grain:  one row per line of measurement or observation with a number
-- reads:  extract.measurement, extract.observation, extract.concept
-- params: none
-- source: OMOP Common Data Model 5.4, measurement and observation
with recorded as (
    select
        person_id as person,
        measurement_date as date,
        coalesce(nullif(measurement_source_concept_id, 0), measurement_concept_id) as concept_id,
        value_as_number as value,
        unit_source_value as unit
    from extract.measurement
    union all
    select
        person_id,
        observation_date,
        coalesce(nullif(observation_source_concept_id, 0), observation_concept_id),
        value_as_number,
        unit_source_value
    from extract.observation
)
select
    recorded.person,
    recorded.date,
    concept.vocabulary_id || ' ' || concept.concept_code as instrument,
    recorded.value,
    recorded.unit
from recorded
left join extract.concept on concept.concept_id = recorded.concept_id
where recorded.value is not null

-- what:   conditions, procedures, devices and observations with their code, their visit's setting and the days of their
--         encounter. Code: that of the source concept, because codelists are written in what was recorded; where it
--         is absent, or of a vocabulary that the store does not know, that of the standard concept. Days: from the
--         recorded day to the end of the visit if that day lies in it, else the recorded day alone, for the end of
--         a condition is not that of an encounter. Position: by the status of the condition, else by its type
-- grain:  one row per line of the four tables
-- reads:  extract.condition_occurrence, extract.procedure_occurrence, extract.device_exposure, extract.observation,
--         extract.known_concept, extract.visit, codes.omop_diagnosis_position
-- params: none
-- source: OMOP Common Data Model 5.4; our rule for the code
with recorded as (
    select
        'condition' as kind,
        person_id,
        condition_start_date as day,
        condition_source_concept_id as source_id,
        condition_concept_id as standard_id,
        visit_occurrence_id,
        condition_status_concept_id as status_id,
        condition_type_concept_id as type_id
    from extract.condition_occurrence
    union all
    select 'procedure', person_id, procedure_date, procedure_source_concept_id, procedure_concept_id,
        visit_occurrence_id, null, null
    from extract.procedure_occurrence
    union all
    select 'procedure', person_id, device_exposure_start_date, device_source_concept_id, device_concept_id,
        visit_occurrence_id, null, null
    from extract.device_exposure
    union all
    select 'observation', person_id, observation_date, observation_source_concept_id, observation_concept_id,
        visit_occurrence_id, null, null
    from extract.observation
)
select
    recorded.kind,
    recorded.person_id as person,
    recorded.day,
    case when recorded.day between visit.first_day and visit.last_day then visit.last_day else recorded.day end
        as last_day,
    coalesce(source.system, standard.system) as system,
    case when source.system is not null then source.code else standard.code end as code,
    coalesce(visit.setting, 'unknown') as setting,
    listed.position
from recorded
left join extract.known_concept as source on source.concept_id = recorded.source_id
left join extract.known_concept as standard on standard.concept_id = recorded.standard_id
left join extract.visit
    on visit.person_id = recorded.person_id and visit.visit_occurrence_id = recorded.visit_occurrence_id
left join codes.omop_diagnosis_position as listed
    on listed.code = coalesce(nullif(recorded.status_id, 0), recorded.type_id)::varchar

-- what:   visits with their setting; a visit without an end ends on its first day
-- grain:  one row per visit
-- reads:  extract.visit_occurrence, codes.omop_visit
-- params: none
-- source: OMOP Common Data Model 5.4, visit_occurrence
select
    visit.person_id,
    visit.visit_occurrence_id,
    visit.visit_start_date as first_day,
    coalesce(visit.visit_end_date, visit.visit_start_date) as last_day,
    coalesce(place.setting, 'unknown') as setting
from extract.visit_occurrence as visit
left join codes.omop_visit as place on place.code = visit.visit_concept_id::varchar

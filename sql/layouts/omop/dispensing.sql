-- what:   drug exposures on their first day, whatever kind of record they come from (dispensed, prescribed, given), by the
--         code of the source concept, else of the standard one; a quantity or supply of 0 means not recorded
-- grain:  one row per line of drug_exposure
-- reads:  extract.drug_exposure, extract.known_concept
-- params: none
-- source: OMOP Common Data Model 5.4, drug_exposure
select
    drug.person_id as person,
    drug.drug_exposure_start_date as date,
    coalesce(source.system, standard.system) as system,
    case when source.system is not null then source.code else standard.code end as code,
    nullif(drug.quantity, 0) as quantity,
    nullif(drug.days_supply, 0) as days_supply
from extract.drug_exposure as drug
left join extract.known_concept as source on source.concept_id = drug.drug_source_concept_id
left join extract.known_concept as standard on standard.concept_id = drug.drug_concept_id

-- what:   concepts whose vocabulary is one of the store's coding systems
-- grain:  one row per concept
-- reads:  extract.concept, codes.omop_vocabulary
-- params: none
-- source: OMOP Common Data Model 5.4, concept
select concept.concept_id, vocabulary.system, concept.concept_code as code
from extract.concept
join codes.omop_vocabulary as vocabulary on vocabulary.code = concept.vocabulary_id

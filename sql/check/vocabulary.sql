-- what:   words outside the dictionary's vocabulary, and coding systems in a table that they do not describe
-- grain:  one row per rule
-- reads:  person, diagnosis, procedure, dispensing
-- params: $sexes, $settings, $systems = the dictionary's words
-- source: the data dictionary; systems by what they classify (WHO-FIC; CMS code sets, 45 CFR 162.1002)
select 'person_sex_unknown_word' as rule, null::varchar as part,
    count(*) filter (where not list_contains($sexes, sex)) as offending, count(sex) as examined
from person
union all
select 'diagnosis_setting_unknown_word', null,
    count(*) filter (where not list_contains($settings, setting)), count(setting)
from diagnosis
union all
select 'procedure_setting_unknown_word', null,
    count(*) filter (where not list_contains($settings, setting)), count(setting)
from procedure
union all
select 'diagnosis_system_unknown', null,
    count(*) filter (where not list_contains($systems, system)), count(system)
from diagnosis
union all
select 'procedure_system_unknown', null,
    count(*) filter (where not list_contains($systems, system)), count(system)
from procedure
union all
select 'dispensing_system_unknown', null,
    count(*) filter (where not list_contains($systems, system)), count(system)
from dispensing
union all
select 'diagnosis_system_misplaced', null,
    count(*) filter (where system in (
        'atc', 'ndc', 'rxnorm', 'cip', 'ucd', 'hcpcs', 'cpt', 'icd10pcs', 'icd9proc', 'ccam')),
    count(system)
from diagnosis
union all
select 'procedure_system_misplaced', null,
    count(*) filter (where system in (
        'atc', 'ndc', 'rxnorm', 'cip', 'ucd', 'icd9cm', 'icd10', 'icd10cm', 'icd11')),
    count(system)
from procedure
union all
select 'dispensing_system_misplaced', null,
    count(*) filter (where system in ('icd9cm', 'icd10', 'icd10cm', 'icd11', 'icd10pcs', 'icd9proc', 'cpt', 'ccam')),
    count(system)
from dispensing

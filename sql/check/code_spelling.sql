-- what:   codes that were not normalised (lower case, dots, blanks, hyphens, nothing at all), and codes shorter or
--         longer than any of their system
-- grain:  one row per rule
-- reads:  diagnosis, procedure, dispensing
-- params: none
-- source: the data dictionary; lengths as in code_format.sql. A length is what a spreadsheet changes first, as it drops
--         leading zeros
with bounds(system, shortest, longest) as (
    values
    ('icd9cm', 3, 5), ('icd10', 3, 6), ('icd10cm', 3, 7), ('icd11', 4, 200), ('snomed', 6, 18), ('atc', 1, 7),
    ('ndc', 11, 11), ('rxnorm', 1, 8), ('hcpcs', 5, 5), ('cpt', 5, 5), ('icd10pcs', 7, 7), ('icd9proc', 2, 4),
    ('ccam', 7, 7), ('cip', 13, 13), ('ucd', 7, 7)
), coded as (
    select 'diagnosis' as name, system, code, count(*) as rows from diagnosis group by system, code
    union all
    select 'procedure', system, code, count(*) from procedure group by system, code
    union all
    select 'dispensing', system, code, count(*) from dispensing group by system, code
), counted as (
    select
        name,
        unnest([
            {'fault': 'code_spelling',
                'offending': sum(rows) filter (where code = '' or regexp_matches(code, '[a-z.\s-]')),
                'examined': sum(rows) filter (where code is not null)},
            {'fault': 'code_length',
                'offending': sum(rows) filter (where length(code) not between shortest and longest),
                'examined': sum(rows) filter (where code is not null and shortest is not null)}
        ], recursive := true)
    from coded
    left join bounds using (system)
    group by name
)
select name || '_' || fault as rule, null::varchar as part,
    coalesce(offending, 0)::bigint as offending, coalesce(examined, 0)::bigint as examined
from (values ('diagnosis'), ('procedure'), ('dispensing')) tables(name)
cross join (values ('code_spelling'), ('code_length')) faults(fault)
left join counted using (name, fault)

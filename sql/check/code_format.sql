-- what:   codes that cannot be codes of their system, in the normalised spelling (upper case, no dots, no blanks)
-- grain:  one row per rule, which is one coding system, over all tables
-- reads:  diagnosis, procedure, dispensing
-- params: none
-- source: the systems' own rules: CDC/NCHS (ICD-9-CM, ICD-10-CM), WHO (ICD-10, ICD-11 4-character stems and clusters,
--         ATC), SNOMED International (SCTID of 6 to 18 digits), FDA (NDC in the 11 digits of billing), NLM (RxCUI),
--         CMS (HCPCS with its level I, ICD-10-PCS without I and O, ICD-9-CM volume 3), AMA (CPT categories I to III,
--         PLA, MAAA, immunisation administration), ATIH (CCAM), Club Inter Pharmaceutique (CIP in 13 digits, UCD in 7)
with form(system, pattern) as (
    values
    ('icd9cm', '[0-9]{3,5}|V[0-9]{2,4}|E[0-9]{3,4}'),
    ('icd10', '[A-Z][0-9]{2}[0-9A-Z]{0,3}'),
    ('icd10cm', '[A-Z][0-9][0-9AB][0-9A-Z]{0,4}'),
    ('icd11', '[0-9A-HJ-NP-Z][A-HJ-NP-Z][0-9][0-9A-HJ-NP-Z]{1,5}([&/][0-9A-Z&/]+)?'),
    ('snomed', '[1-9][0-9]{5,17}'),
    ('atc', '[A-DGHJLMNPRSV]([0-9]{2}([A-Z]([A-Z]([0-9]{2})?)?)?)?'),
    ('ndc', '[0-9]{11}'),
    ('rxnorm', '[1-9][0-9]{0,7}'),
    ('hcpcs', '[A-Z][0-9]{4}|[0-9]{4}[0-9AFMTU]'),
    ('cpt', '[0-9]{4}[0-9AFMTU]'),
    ('icd10pcs', '[0-9BCDFGHX][0-9A-HJ-NP-Z]{6}'),
    ('icd9proc', '[0-9]{2,4}'),
    ('ccam', '[A-Z]{4}[0-9]{3}'),
    ('cip', '[0-9]{13}'),
    ('ucd', '[0-9]{7}')
), coded as (
    select system, code, count(*) as rows
    from (
        select system, code from diagnosis
        union all
        select system, code from procedure
        union all
        select system, code from dispensing
    )
    where code is not null
    group by system, code
)
select
    system || '_format' as rule,
    null::varchar as part,
    coalesce(sum(rows) filter (where not regexp_full_match(code, pattern)), 0)::bigint as offending,
    coalesce(sum(rows), 0)::bigint as examined
from form
left join coded using (system)
group by system

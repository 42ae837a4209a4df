-- what:   cells that are not filled, by column and calendar year: the share, its rise over the year before, and columns
--         that are never filled
-- grain:  one row per rule and column, or column and year (the part) where the year has enough rows
-- reads:  person, diagnosis, procedure, dispensing, measurement
-- params: $fewest_rows = rows that a year must have to be examined
-- source: Weiskopf and Weng 2013, completeness. The setting `unknown` counts as not filled. `_null_rise` counts the
--         empty cells beyond those that the share of the year before would give. Units of measurements may be empty,
--         as scores have none, but should not become so
with cell as (
    select 'person' as name, null::bigint as year, count(*) as rows, unnest([
        {'item': 'birth_date', 'filled': count(birth_date)}, {'item': 'sex', 'filled': count(sex)},
        {'item': 'death_date', 'filled': count(death_date)}, {'item': 'region', 'filled': count(region)}
    ], recursive := true)
    from person
    union all
    select 'diagnosis', year(date), count(*), unnest([
        {'item': 'setting', 'filled': count(nullif(setting, 'unknown'))},
        {'item': 'position', 'filled': count(position)}
    ], recursive := true)
    from diagnosis
    group by year(date)
    union all
    select 'procedure', year(date), count(*), unnest([
        {'item': 'setting', 'filled': count(nullif(setting, 'unknown'))}
    ], recursive := true)
    from procedure
    group by year(date)
    union all
    select 'dispensing', year(date), count(*), unnest([
        {'item': 'quantity', 'filled': count(quantity)}, {'item': 'days_supply', 'filled': count(days_supply)}
    ], recursive := true)
    from dispensing
    group by year(date)
    union all
    select 'measurement', year(date), count(*), unnest([{'item': 'unit', 'filled': count(unit)}], recursive := true)
    from measurement
    group by year(date)
), whole as (
    select name || '_column_all_null' as rule, item as part, (sum(filled) = 0)::bigint as offending,
        1::bigint as examined
    from cell
    group by name, item
    having sum(rows) > 0
), yearly as (
    select
        name, item, year, rows, rows - filled as empty,
        lag(rows) over (partition by name, item order by year) as rows_before,
        lag(rows - filled) over (partition by name, item order by year) as empty_before
    from cell
    where year is null or rows >= $fewest_rows
), counted as (
    select name || '_null_share' as rule, concat_ws(' ', item, year) as part, empty as offending, rows as examined
    from yearly
    where name != 'person' or item != 'death_date'
    union all
    select name || '_null_rise', concat_ws(' ', item, year),
        greatest(empty - rows * empty_before // rows_before, 0), rows
    from yearly
    where year is not null and rows_before is not null
    union all
    from whole
)
select rule, part, coalesce(offending, 0)::bigint as offending, coalesce(examined, 0)::bigint as examined
from (values
    ('person_null_share'), ('diagnosis_null_share'), ('procedure_null_share'), ('dispensing_null_share'),
    ('diagnosis_null_rise'), ('procedure_null_rise'), ('dispensing_null_rise'), ('measurement_null_rise'),
    ('person_column_all_null'), ('diagnosis_column_all_null'), ('procedure_column_all_null'),
    ('dispensing_column_all_null')
) rules(rule)
left join counted using (rule)

-- what:   US codes of one ICD edition in the time of the other, and months around the change with both
-- grain:  one row per rule; `icd_mixed_month` one row per month (the part) from April 2015 to March 2016
-- reads:  diagnosis, procedure
-- params: $fewest_rows_a_month = rows that a month must have to be examined
-- source: 45 CFR 162.1002: ICD-10-CM and ICD-10-PCS from 1 October 2015, by day of service, and by day of discharge for
--         inpatients, whose `end_date` decides therefore. Procedures carry no discharge: some that were done before the
--         change are rightly in ICD-10-PCS
with diagnosed as (
    select
        system = 'icd9cm' as old,
        case when setting in ('inpatient', 'facility') then end_date else date end as day
    from diagnosis
    where system in ('icd9cm', 'icd10cm')
), operated as (
    select system = 'icd9proc' as old, date as day
    from procedure
    where system in ('icd9proc', 'icd10pcs')
), counted as (
    select unnest([
        {'rule': 'icd9cm_after_change', 'part': null::varchar,
            'offending': count(*) filter (where old and day >= date '2015-10-01'),
            'examined': count(*) filter (where old)},
        {'rule': 'icd10cm_before_change', 'part': null,
            'offending': count(*) filter (where not old and day < date '2015-10-01'),
            'examined': count(*) filter (where not old)}
    ], recursive := true)
    from diagnosed
    union all
    select unnest([
        {'rule': 'icd9proc_after_change', 'part': null,
            'offending': count(*) filter (where old and day >= date '2015-10-01'),
            'examined': count(*) filter (where old)},
        {'rule': 'icd10pcs_before_change', 'part': null,
            'offending': count(*) filter (where not old and day < date '2015-10-01'),
            'examined': count(*) filter (where not old)}
    ], recursive := true)
    from operated
    union all
    select 'icd_mixed_month', strftime(date_trunc('month', day), '%Y-%m'),
        count(*) filter (where old = (day >= date '2015-10-01')), count(*)
    from diagnosed
    where day between date '2015-04-01' and date '2016-03-31'
    group by date_trunc('month', day)
    having count(*) >= $fewest_rows_a_month
)
select rule, part, coalesce(offending, 0)::bigint as offending, coalesce(examined, 0)::bigint as examined
from (values
    ('icd9cm_after_change'), ('icd10cm_before_change'), ('icd9proc_after_change'), ('icd10pcs_before_change'),
    ('icd_mixed_month')
) rules(rule)
left join counted using (rule)

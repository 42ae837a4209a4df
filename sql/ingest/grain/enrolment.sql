-- what:   spans of observation, overlapping and touching ones merged; a gap of one day or more stays a gap
-- grain:  one row per person and span
-- reads:  complete (person_id, start_date, end_date), free of repeats
-- params: none
-- source: gaps and islands: a span opens where it starts later than the day after every earlier end
with reached as (
    select
        *,
        max(end_date) over (
            partition by person_id order by start_date, end_date
            rows between unbounded preceding and 1 preceding
        ) as reached
    from complete
), numbered as (
    select
        *,
        count(*) filter (where reached is null or start_date > reached + 1) over (
            partition by person_id order by start_date, end_date
            rows between unbounded preceding and current row
        ) as span
    from reached
)
select person_id, min(start_date) as start_date, max(end_date) as end_date
from numbered
group by person_id, span

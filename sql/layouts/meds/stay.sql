-- what:   hospital stays: from an admission to the first discharge on the same day or later; without one, on its first day
-- grain:  one row per person and day of admission
-- reads:  extract.event
-- params: none
-- source: MEDS schema 0.3; our rule
with admitted as (
    select distinct person, day from extract.event where split_part(code, '//', 1) = 'ADMISSION' and day is not null
), discharged as (
    select distinct person, day from extract.event where split_part(code, '//', 1) = 'DISCHARGE' and day is not null
)
select admitted.person, admitted.day as first_day, coalesce(min(discharged.day), admitted.day) as last_day
from admitted
left join discharged on discharged.person = admitted.person and discharged.day >= admitted.day
group by admitted.person, admitted.day

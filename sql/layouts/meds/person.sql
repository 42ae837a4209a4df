-- what:   one row per event that says who the person is: sex (SEX//male, GENDER//F), birth and death; of several births or
--         deaths the latest counts
-- grain:  one row per event of these kinds
-- reads:  extract.event, codes.gender
-- params: none
-- source: MEDS schema 0.3; our rule
select
    event.person,
    case when event.kind = 'birth' then event.day end as birth_date,
    case when upper(event.vocabulary) in ('SEX', 'GENDER') then coalesce(gender.sex, lower(event.word)) end as sex,
    case when event.kind = 'death' then event.day end as death_date
from extract.event
left join codes.gender on gender.code = upper(event.word)
where event.kind in ('birth', 'death') or upper(event.vocabulary) in ('SEX', 'GENDER')

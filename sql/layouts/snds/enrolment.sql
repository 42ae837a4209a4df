-- what:   spans of observation. Everybody resident in France is covered, but the extract does not say since when it
--         knows a person, and silence before the first care in it is not health. So a person is observed from the
--         first day of care in the extract to the death that IR_BEN_R knows or, without one, to the last day of the data
-- grain:  one row per person with any care
-- reads:  extract.prestation, extract.stay, extract.ir_ben
-- params: $data_end = latest date of a diagnosis, procedure or dispensing in the extract
-- source: our rule
with care as (
    select NUM_ENQ as person, day from extract.prestation
    union all
    select person, first_day from extract.stay
), dead as (
    select NUM_ENQ as person, max(case when BEN_DCD_DTE > date '1600-12-31' then BEN_DCD_DTE end) as died
    from extract.ir_ben
    group by NUM_ENQ
)
select person, min(day) as start_date, coalesce(max(dead.died), $data_end) as end_date
from care
left join dead using (person)
where day is not null
group by person

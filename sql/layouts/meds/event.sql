-- what:   events by day, with the vocabulary before the last // of their code, the word behind it, and what the
--         vocabulary or the code as a whole is known to mean
-- grain:  one row per event
-- reads:  extract.data, codes.meds_vocabulary, codes.meds_event
-- params: none
-- source: MEDS schema 0.3
with parted as (
    select
        subject_id as person,
        time as day,
        code,
        numeric_value as value,
        regexp_extract(code, '^(.*)//(.*)$', 1) as vocabulary,
        regexp_extract(code, '^(.*)//(.*)$', 2) as word
    from extract.data
)
select parted.*, coalesce(reserved.kind, known.kind) as kind, known.system
from parted
left join codes.meds_vocabulary as known on known.code = upper(parted.vocabulary)
left join codes.meds_event as reserved on reserved.code = upper(parted.code)

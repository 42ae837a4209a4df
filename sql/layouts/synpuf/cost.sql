-- what:   amounts that Medicare paid, on the first day of the encounter, and drugs on the day of service. The segments of
--         a claim state one payment, which counts once; a carrier claim's lines are added up. Of a drug's whole cost
--         what the patient paid is taken off
-- grain:  one row per claim and file, and per prescription drug event
-- reads:  extract.claim, extract.prescription
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary; our rule on segments
with paid as (
    select person, min(encounter_start) as date, 'medical' as service, arg_max(paid, abs(paid)) as amount
    from extract.claim
    group by person, claim, file
    union all
    select DESYNPUF_ID, SRVC_DT, 'pharmacy', TOT_RX_CST_AMT - coalesce(PTNT_PAY_AMT, 0) from extract.prescription
)
select person, date, service, round(amount * 100)::bigint as amount
from paid
where amount is not null

-- what:   amounts that Medicare paid. Institutional claims repeat the payment of the claim on each line: it counts once,
--         on the first day of the encounter (a hospital's pass-through amounts, paid apart, are not in it). Carrier and
--         equipment lines have their own payments and days. Of a drug what the plan paid, covered or not, and the
--         low-income subsidy
-- grain:  one row per standing institutional claim, carrier or equipment line, and drug event
-- reads:  extract.claim_line, extract.drug_event
-- params: none
-- source: ResDAC, RIF record layouts (CLM_PMT_AMT, LINE_NCH_PMT_AMT, CVRD_D_PLAN_PD_AMT, NCVRD_PLAN_PD_AMT, LICS_AMT)
with paid as (
    select
        BENE_ID as person,
        min(encounter_start) as date,
        'medical' as service,
        arg_max(CLM_PMT_AMT, abs(CLM_PMT_AMT)) as amount
    from extract.claim_line
    where CLM_PMT_AMT is not null
    group by BENE_ID, NCH_CLM_TYPE_CD, CLM_ID
    union all
    select BENE_ID, coalesce(LINE_1ST_EXPNS_DT, encounter_start), 'medical', LINE_NCH_PMT_AMT
    from extract.claim_line
    union all
    select BENE_ID, SRVC_DT, 'pharmacy', list_sum([CVRD_D_PLAN_PD_AMT, NCVRD_PLAN_PD_AMT, LICS_AMT])
    from extract.drug_event
)
select person, date, service, round(amount * 100)::bigint as amount
from paid
where amount is not null

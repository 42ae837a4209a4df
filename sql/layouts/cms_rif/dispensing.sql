-- what:   Part D prescription drug events: the day of service, NDC in 11 digits, quantity and days' supply as billed
-- grain:  one row per standing record of pde with a code
-- reads:  extract.drug_event
-- params: none
-- source: ResDAC, Part D event record layout
select
    BENE_ID as person,
    SRVC_DT as date,
    'ndc' as system,
    PROD_SRVC_ID as code,
    QTY_DSPNSD_NUM as quantity,
    DAYS_SUPLY_NUM as days_supply
from extract.drug_event
where PROD_SRVC_ID is not null

-- what:   prescription drug events: the day of service, NDC in 11 digits, quantity and days' supply as billed
-- grain:  one row per prescription drug event
-- reads:  extract.prescription
-- params: none
-- source: CMS DE-SynPUF 1.0, user manual and data dictionary
select
    DESYNPUF_ID as person,
    SRVC_DT as date,
    'ndc' as system,
    PROD_SRVC_ID as code,
    QTY_DSPNSD_NUM as quantity,
    DAYS_SUPLY_NUM as days_supply
from extract.prescription
